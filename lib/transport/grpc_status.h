// Converts errors between absl::Status and the wire: google.rpc.Status with one ErrorInfo of the domain "parley".
#ifndef PARLEY_LIB_TRANSPORT_GRPC_STATUS_H_
#define PARLEY_LIB_TRANSPORT_GRPC_STATUS_H_

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace parley::transport {

// An error without a reason of its own gets its code's name as one.
grpc::Status ToGrpc(const absl::Status& status);
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_GRPC_STATUS_H_
