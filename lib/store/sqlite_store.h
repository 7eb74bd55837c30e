// The default engine: SQLite in WAL mode with synchronous=FULL. One writer commits groups of transactions with one
// fsync, and readers work beside it. docs/adr/0002-store.md has the reasons.
#ifndef PARLEY_LIB_STORE_SQLITE_STORE_H_
#define PARLEY_LIB_STORE_SQLITE_STORE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "lib/store/owner.h"
#include "lib/store/store.h"

namespace parley::store {

struct SqliteOptions {
  // The database file, which is made with mode 0600 if it does not exist. Only one process may have it open.
  std::string path;
  // Whose data these are, as far as it is known. It is kept in the file, and compared from then on.
  StoreOwner owner = {};
  StorePurpose purpose = {};
  // Superseded values are kept for at least this many revisions, and then compacted by themselves. 0 keeps them for
  // ever.
  int64_t keep_revisions = 100'000;
  // They are compacted earlier if more than this was written since the last compaction, so that the history takes at
  // most twice as much, whatever is written.
  int64_t keep_bytes = 256 << 20;
  // Measures the time of leases. Must outlive the store.
  Clock* clock = Clock::System();
};

// Returns FAILED_PRECONDITION (STORE_LOCKED) if another process has the file open, FILE_EXPOSED if others may read it,
// STORE_NEWER if its schema is newer, STORE_FOREIGN if it is another service's or organisation's, STORE_UNFINISHED if
// it is being filled, STORE_NOT_EMPTY if it cannot be; NOT_FOUND (STORE_ABSENT) if there is nothing to read; or the
// errors of store.h.
absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(SqliteOptions options);

// Says that a store which was filled, and is closed, is whole: services open it from now on. Returns
// FAILED_PRECONDITION (STORE_NOT_EMPTY) if it is not being filled, STORE_LOCKED, or the errors of store.h.
absl::Status FinishSqliteStore(const std::string& path);

// Reads whose store it is, which a service may have open. Returns NOT_FOUND (STORE_ABSENT), FAILED_PRECONDITION
// (STORE_UNFINISHED, STORE_NEWER), or the errors of store.h.
absl::StatusOr<StoreOwner> ReadSqliteOwner(const std::string& path);

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_SQLITE_STORE_H_
