#include "lib/store/etcd/etcd_errors.h"

#include "absl/strings/match.h"
#include "lib/base/error.h"
#include "lib/store/refusals.h"

namespace parley::store {
namespace {

bool Says(const grpc::Status& status, absl::string_view text) {
  return absl::StrContains(status.error_message(), text);
}

absl::Status ExhaustedError(const grpc::Status& status) {
  if (Says(status, "database space exceeded")) {
    return Error(absl::StatusCode::kResourceExhausted, "DISK_FULL",
                 "the space quota of etcd is used up, and the change may or may not have been made; compact and "
                 "defragment etcd or raise its --quota-backend-bytes, and then disarm its alarm (docs/operations.md)");
  }
  return Error(absl::StatusCode::kResourceExhausted, "STORE_ANSWER_TOO_LARGE",
               "etcd's answer is too large: ", status.error_message());
}

absl::Status InvalidError(const grpc::Status& status) {
  if (Says(status, "user name is empty")) return EtcdRefused(status.error_message());
  return InvalidArgument("STORE_TRANSACTION", "etcd does not take the request (", status.error_message(),
                         "); leave its --max-request-bytes and --max-txn-ops as they are by default, or raise them");
}

}  // namespace

EtcdOutcome OutcomeOf(const grpc::Status& status) {
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
      // What a member says before it looks at a request, and what gRPC says before it sends one.
      return Says(status, "etcdserver: no leader") || Says(status, "not supported for learner") ||
                     Says(status, "failed to connect to all addresses")
                 ? EtcdOutcome::kNotMade
                 : EtcdOutcome::kUnknown;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return Says(status, "too many requests") ? EtcdOutcome::kNotMade : EtcdOutcome::kAnswered;
    case grpc::StatusCode::ABORTED:
    case grpc::StatusCode::CANCELLED:
    case grpc::StatusCode::DEADLINE_EXCEEDED:
    case grpc::StatusCode::INTERNAL:
    case grpc::StatusCode::UNKNOWN:
      return EtcdOutcome::kUnknown;
    default:
      return EtcdOutcome::kAnswered;
  }
}

absl::Status EtcdError(const grpc::Status& status, int64_t revision) {
  switch (status.error_code()) {
    case grpc::StatusCode::OK:
      return absl::OkStatus();
    case grpc::StatusCode::NOT_FOUND:
      return LeaseNotFound();
    case grpc::StatusCode::OUT_OF_RANGE:
      return Says(status, "has been compacted") ? Compacted(revision) : FutureRevision(revision);
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return ExhaustedError(status);
    case grpc::StatusCode::INVALID_ARGUMENT:
      return InvalidError(status);
    case grpc::StatusCode::PERMISSION_DENIED:
    case grpc::StatusCode::UNAUTHENTICATED:
      return EtcdRefused(status.error_message());
    case grpc::StatusCode::DATA_LOSS:
      return DataLoss("STORE_DAMAGED", "etcd says that its data are damaged (", status.error_message(),
                      "); replace the member, or restore from a backup");
    case grpc::StatusCode::UNIMPLEMENTED:
      return FailedPrecondition("STORE_FOREIGN", "what answers is no etcd with the v3 API; check the address");
    default:
      return Unavailable("STORE_UNAVAILABLE", "etcd failed: ", status.error_message());
  }
}

absl::Status EtcdRefused(absl::string_view detail) {
  return PermissionDenied("STORE_REFUSED", "etcd does not permit this (", detail,
                          "); give the user that the certificate names a role for the prefix");
}

}  // namespace parley::store
