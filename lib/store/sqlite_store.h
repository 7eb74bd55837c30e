// The default engine: SQLite in WAL mode with synchronous=FULL, one writer that commits groups of transactions
// with one fsync, readers beside it. docs/adr/0002-store.md says why.
#ifndef PARLEY_LIB_STORE_SQLITE_STORE_H_
#define PARLEY_LIB_STORE_SQLITE_STORE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "lib/store/store.h"

namespace parley::store {

struct SqliteOptions {
  // The database file; made with mode 0600 when it is not there. One process may have it open: a second gets
  // FAILED_PRECONDITION (STORE_LOCKED). One that others may read gets FILE_EXPOSED, one of a newer schema STORE_NEWER.
  std::string path;
  // Superseded values are kept for at least this many revisions and then compacted by themselves. 0: for ever.
  int64_t keep_revisions = 100'000;
  // They are compacted earlier when more than this was written since the last compaction: what is kept of the history
  // is at most twice as large, whoever writes how much.
  int64_t keep_bytes = 256 << 20;
  // For leases. Must outlive the store.
  Clock* clock = Clock::System();
};

absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(SqliteOptions options);

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_SQLITE_STORE_H_
