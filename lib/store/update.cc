#include "lib/store/update.h"

#include <utility>

#include "lib/base/error.h"

namespace parley::store {
namespace {

constexpr int kMaxConflicts = 50;

}  // namespace

absl::StatusOr<int64_t> Update(Store* store, absl::string_view what, const Decide& decide) {
  for (int conflicts = 0; conflicts < kMaxConflicts; ++conflicts) {
    ASSIGN_OR_RETURN(std::optional<Transaction> transaction, decide(conflicts));
    if (!transaction.has_value()) return 0;
    const absl::StatusOr<int64_t> revision = store->Commit(*std::move(transaction));
    if (!absl::IsAborted(revision.status())) return revision;
  }
  return Error(absl::StatusCode::kAborted, "CONFLICT", what, " is being changed by others; try again");
}

}  // namespace parley::store
