// What is read and written in the tables of a store inside one SQLite transaction.
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

// Returns the state row, or DATA_LOSS (STORE_DAMAGED) without one.
absl::StatusOr<State> ReadState(Database* database);
// Returns OUT_OF_RANGE: STORE_COMPACTED for a revision that is no longer kept, STORE_FUTURE_REVISION for one that is
// not there.
absl::Status CheckRevision(const State& state, int64_t revision);

// Reads the key as it was at the revision; 0 for the newest. Returns NOT_FOUND (KEY_NOT_FOUND) if it was absent.
absl::StatusOr<Entry> ReadEntry(Database* database, absl::string_view key, int64_t revision);
// Reads at most `limit` keys of the range as they were at the revision; 0 for no limit. Returns the errors of store.h.
absl::StatusOr<Page> ReadPage(Database* database, const KeyRange& range, size_t limit, int64_t revision);
// Reads the changes of the range after one revision and up to another, or fewer: whole commits, and how far they reach.
// Returns the errors of store.h.
absl::StatusOr<WatchDispatcher::History> ReadChanges(Database* database, const KeyRange& range, int64_t after,
                                                     int64_t up_to);
// Returns every lease with its whole time, or the errors of store.h.
absl::StatusOr<std::vector<std::pair<LeaseId, absl::Duration>>> ListLeases(Database* database);

// Returns the time that a lease was granted for, or the error LeaseNotFound.
absl::StatusOr<absl::Duration> ReadLeaseTime(Database* database, LeaseId lease);

// What runs inside the writer's SQLite transaction.
struct Writer {
  Database* database;
  State state;
  // The changes of the commits in this group.
  std::vector<Change> changes;
};

// Returns the revision after it, ABORTED (CONFLICT) if a condition does not hold, or LeaseNotFound.
absl::StatusOr<int64_t> ApplyTransaction(Writer* writer, Transaction transaction);
// Deletes the lease with the keys that are in it. Returns the revision after it, or the error LeaseNotFound.
absl::StatusOr<int64_t> ApplyRevokeLease(Writer* writer, LeaseId lease);
// Returns the revision, which stays, or the errors of store.h.
absl::StatusOr<int64_t> InsertLease(Writer* writer, LeaseId lease, absl::Duration ttl);
// Keeps the writer's revision as the newest. Returns the errors of store.h.
absl::Status StoreRevision(Writer* writer);
// Lets nobody read before the revision any more. Returns the newest revision, or the errors of store.h.
absl::StatusOr<int64_t> PromiseCompaction(Writer* writer, int64_t revision);
// Deletes, among the rows after one revision and up to another, what was superseded or was a deletion by `revision`.
// Returns the newest revision, or the errors of store.h.
absl::StatusOr<int64_t> CompactRevisions(Writer* writer, int64_t from, int64_t to, int64_t revision);

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_HISTORY_H_
