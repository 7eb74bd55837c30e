// The refusals that all engines share, so that a caller gets the same error from each.
//
// Threads: free functions without state.
#ifndef PARLEY_LIB_STORE_REFUSALS_H_
#define PARLEY_LIB_STORE_REFUSALS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/store/store.h"

namespace parley::store {

// Returns INVALID_ARGUMENT (STORE_TRANSACTION) for what Store::Commit does not take.
absl::Status CheckTransaction(const Transaction& transaction);
// Returns INVALID_ARGUMENT (STORE_LEASE) for what Store::GrantLease does not take.
absl::Status CheckLeaseTime(absl::Duration ttl);

// Returns NOT_FOUND (KEY_NOT_FOUND).
absl::Status KeyNotFound(absl::string_view key);
// Returns NOT_FOUND (LEASE_NOT_FOUND).
absl::Status LeaseNotFound();
// Returns ABORTED (CONFLICT) for a condition about this key, or about one of several if it is empty.
absl::Status Conflict(absl::string_view key);
// Returns OUT_OF_RANGE (STORE_COMPACTED).
absl::Status Compacted(int64_t revision);
// Returns OUT_OF_RANGE (STORE_FUTURE_REVISION).
absl::Status FutureRevision(int64_t revision);

// These name the store by its file, or by what its keys begin with.
// Returns NOT_FOUND (STORE_ABSENT).
absl::Status StoreAbsent(absl::string_view store);
// Returns FAILED_PRECONDITION (STORE_NOT_EMPTY).
absl::Status StoreNotEmpty(absl::string_view store);
// Returns FAILED_PRECONDITION (STORE_UNFINISHED).
absl::Status StoreUnfinished(absl::string_view store);

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_REFUSALS_H_
