// The tables of a store, and what is read and written in them inside one SQLite transaction.
//
// Threads: one at a time on a Database.
#ifndef PARLEY_LIB_STORE_HISTORY_H_
#define PARLEY_LIB_STORE_HISTORY_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/store/database.h"
#include "lib/store/store.h"
#include "lib/store/watch_dispatcher.h"

namespace parley::store {

// The state row.
struct State {
  int64_t revision = 0;
  int64_t compacted = 0;
};

// Makes the tables in an empty database. Returns DATA_LOSS (STORE_DAMAGED) for another program's database,
// FAILED_PRECONDITION (STORE_NEWER) for another version's, UNAVAILABLE (STORE_UNAVAILABLE) on a file system that cannot
// have a store, or the errors of Database.
absl::Status PrepareSchema(Database* database, const std::string& path);

// Returns DATA_LOSS (STORE_DAMAGED) without a state row, or the errors of Database.
absl::StatusOr<State> ReadState(Database* database);
// Returns OUT_OF_RANGE with STORE_COMPACTED for a revision that is no longer kept, or with STORE_FUTURE_REVISION for
// one that is not there.
absl::Status CheckRevision(const State& state, int64_t revision);

// Reads the key as it was at the revision; 0 for the newest. Returns NOT_FOUND (KEY_NOT_FOUND) for a key that was not
// there, or the errors of Database.
absl::StatusOr<Entry> ReadEntry(Database* database, absl::string_view key, int64_t revision);
// Reads at most `limit` keys of the range, or all with 0, as they were at the revision. Returns the errors of Database.
absl::StatusOr<Page> ReadPage(Database* database, const KeyRange& range, size_t limit, int64_t revision);
// Reads the changes of the range after one revision and up to another, or fewer: whole commits, and how far they reach.
// Returns the errors of Database.
absl::StatusOr<WatchDispatcher::History> ReadChanges(Database* database, const KeyRange& range, int64_t after,
                                                     int64_t up_to);
// Reads every lease with its time to live. Returns the errors of Database.
absl::StatusOr<std::vector<std::pair<LeaseId, absl::Duration>>> ListLeases(Database* database);

// What runs inside the writer's SQLite transaction.
struct Writer {
  Database* database;
  State state;
  // What the commits of this group have changed.
  std::vector<Change> changes;
};

// Returns INVALID_ARGUMENT (STORE_TRANSACTION) for a key, a value or a number of changes that a commit may not have.
absl::Status CheckTransaction(const Transaction& transaction);
// Returns the revision after it. Returns ABORTED (CONFLICT) if a condition does not hold, LeaseNotFound, or the errors
// of Database.
absl::StatusOr<int64_t> ApplyTransaction(Writer* writer, Transaction transaction);
// Deletes the lease with the keys that are in it, and returns the revision after it. Returns LeaseNotFound, or the
// errors of Database.
absl::StatusOr<int64_t> ApplyRevokeLease(Writer* writer, LeaseId lease);
// Adds the lease. Returns the errors of Database.
absl::Status InsertLease(Writer* writer, LeaseId lease, absl::Duration ttl);
// Returns NOT_FOUND (LEASE_NOT_FOUND).
absl::Status LeaseNotFound();
// Stores the writer's revision as the newest. Returns the errors of Database.
absl::Status StoreRevision(Writer* writer);
// Lets nobody read before the revision any more. Returns the errors of Database.
absl::Status PromiseCompaction(Writer* writer, int64_t revision);
// Deletes, among the rows after one revision and up to another, what was superseded or was a deletion by `revision`.
// Returns the errors of Database.
absl::Status CompactRevisions(Writer* writer, int64_t from, int64_t to, int64_t revision);

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_HISTORY_H_
