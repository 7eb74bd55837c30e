// What etcd's answers mean for a caller. etcd tells some errors apart by their text alone, and those texts are the same
// from 3.4 on.
//
// Threads: free functions without state.
#ifndef PARLEY_LIB_STORE_ETCD_ETCD_ERRORS_H_
#define PARLEY_LIB_STORE_ETCD_ETCD_ERRORS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "grpcpp/support/status.h"

namespace parley::store {

enum class EtcdOutcome {
  // The member has answered, if only with an error.
  kAnswered,
  // The call had no effect, and another member may do better.
  kNotMade,
  // Whether the call had an effect is not known.
  kUnknown,
};

EtcdOutcome OutcomeOf(const grpc::Status& status);

// Returns the error of store.h for an answer about `revision`.
absl::Status EtcdError(const grpc::Status& status, int64_t revision);
// Returns PERMISSION_DENIED (STORE_REFUSED).
absl::Status EtcdRefused(absl::string_view detail);

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_ETCD_ETCD_ERRORS_H_
