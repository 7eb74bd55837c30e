// The default engine: SQLite in WAL mode with synchronous=FULL, one writer that commits groups of transactions
// with one fsync, readers beside it.
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
  // FAILED_PRECONDITION (STORE_LOCKED).
  std::string path;
  // For leases. Must outlive the store.
  Clock* clock = Clock::System();
};

absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(SqliteOptions options);

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_SQLITE_STORE_H_
