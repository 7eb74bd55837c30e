// Changes what others may be changing at the same time: reads, decides and commits on the condition that nothing has
// moved since, and all of it again after a conflict.
//
//   ASSIGN_OR_RETURN(const int64_t revision,
//                    Update(store, "task t", [&](int) -> absl::StatusOr<std::optional<Transaction>> {
//                      ASSIGN_OR_RETURN(const Entry entry, store->Get("t"));
//                      if (entry.value == "new") return std::nullopt;
//                      return Transaction().IfUnchanged(entry).Set("t", "new");
//                    }));
//
// Threads: free functions without state, which block on the store; an object belongs to one thread.
#ifndef PARLEY_LIB_STORE_UPDATE_H_
#define PARLEY_LIB_STORE_UPDATE_H_

#include <cstdint>
#include <functional>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/base/backoff.h"
#include "lib/store/store.h"

namespace parley::store {

// Returns what to commit, or nothing when nothing is to be changed. `conflicts` is how often a commit has failed.
using Decide = std::function<absl::StatusOr<std::optional<Transaction>>(int conflicts)>;

// Calls `decide` and commits what it returns, at most 50 times. Returns the revision of the commit, and 0 when there
// was none. The errors are those of `decide` and of Store::Commit, and ABORTED (CONFLICT) that names `what` when
// conflicts do not end.
absl::StatusOr<int64_t> Update(Store* store, absl::string_view what, const Decide& decide);

// Counts conflicts, with a pause after each that grows, so that those who are in each other's way get out of it.
class Conflicts {
 public:
  // Returns whether it is worth another try: the result is a CONFLICT, and not the 50th. Blocks for up to 100 ms.
  bool Again(const absl::Status& result);
  template <typename Value>
  bool Again(const absl::StatusOr<Value>& result) {
    return Again(result.status());
  }

  int count() const { return count_; }

 private:
  int count_ = 0;
  std::optional<Backoff> pauses_;
};

// Calls `attempt`, which reads, decides and commits, until it returns something else than CONFLICT, at most 50 times.
template <typename Attempt>
auto RetryConflicts(const Attempt& attempt) {
  Conflicts conflicts;
  while (true) {
    auto result = attempt();
    if (!conflicts.Again(result)) return result;
  }
}

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_UPDATE_H_
