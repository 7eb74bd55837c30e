#include "lib/store/update.h"

#include <utility>

#include "absl/time/clock.h"
#include "lib/base/error.h"

namespace parley::store {
namespace {

constexpr int kMaxConflicts = 50;
constexpr absl::Duration kFirstPause = absl::Milliseconds(1);
constexpr absl::Duration kLongestPause = absl::Milliseconds(50);

}  // namespace

bool Conflicts::Again(const absl::Status& result) {
  if (!absl::IsAborted(result) || Reason(result) != "CONFLICT" || ++count_ == kMaxConflicts) return false;
  // The first is mostly alone.
  if (count_ == 1) return true;
  if (!pauses_.has_value()) pauses_.emplace(kFirstPause, kLongestPause);
  absl::SleepFor(pauses_->Next());
  return true;
}

absl::StatusOr<int64_t> Update(Store* store, absl::string_view what, const Decide& decide) {
  Conflicts conflicts;
  while (true) {
    ASSIGN_OR_RETURN(std::optional<Transaction> transaction, decide(conflicts.count()));
    if (!transaction.has_value()) return 0;
    const absl::StatusOr<int64_t> revision = store->Commit(*std::move(transaction));
    if (!absl::IsAborted(revision.status())) return revision;
    if (!conflicts.Again(revision)) break;
  }
  return Error(absl::StatusCode::kAborted, "CONFLICT", what, " is being changed by others; try again");
}

}  // namespace parley::store
