#include "lib/rpc/errors.h"

#include <string>

#include "absl/strings/string_view.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "lib/base/error.h"

namespace parley::rpc {
namespace {

constexpr char kDomain[] = "parley";
constexpr size_t kMaxReasonBytes = 63;  // As google.rpc.ErrorInfo demands.

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  google::rpc::ErrorInfo info;
  info.set_domain(kDomain);
  const std::string reason = Reason(status);
  info.set_reason(reason.empty() ? absl::StatusCodeToString(status.code()) : reason);
  google::rpc::Status detailed;
  detailed.set_code(static_cast<int>(status.code()));
  detailed.set_message(std::string(status.message()));
  detailed.add_details()->PackFrom(info);
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()),
                      detailed.SerializeAsString());
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  google::rpc::Status detailed;
  google::rpc::ErrorInfo info;
  if (detailed.ParseFromString(status.error_details())) {
    for (const auto& detail : detailed.details()) {
      if (detail.UnpackTo(&info) && info.domain() == kDomain && info.reason().size() <= kMaxReasonBytes) {
        return Error(code, info.reason(), status.error_message());
      }
    }
  }
  return absl::Status(code, status.error_message());
}

}  // namespace parley::rpc
