#include "lib/transport/grpc_status.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "lib/base/error.h"

namespace parley::transport {
namespace {

constexpr char kDomain[] = "parley";
constexpr size_t kMaxReasonBytes = 63;  // The limit of google.rpc.ErrorInfo.

// "cannot write taskd.db" for "cannot write /var/lib/parley/taskd.db": where a server keeps its files is its own
// affair, and its log has the whole path.
std::string WithoutFolders(absl::string_view message) {
  constexpr absl::string_view kBefore = " \"'(";
  constexpr absl::string_view kBehind = " \"'(),;:";
  std::string text;
  bool begins = true;
  while (!message.empty()) {
    size_t size = 1;
    if (begins && message[0] == '/') {
      size = std::min(message.find_first_of(kBehind), message.size());
      const absl::string_view path = message.substr(0, size);
      absl::StrAppend(&text, path.size() == 1 ? path : path.substr(path.rfind('/') + 1));
    } else {
      text.push_back(message[0]);
    }
    begins = kBefore.find(message[0]) != absl::string_view::npos;
    message.remove_prefix(size);
  }
  return text;
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  google::rpc::ErrorInfo info;
  info.set_domain(kDomain);
  const std::string reason = Reason(status);
  info.set_reason(reason.empty() ? absl::StatusCodeToString(status.code()) : reason);
  google::rpc::Status detailed;
  detailed.set_code(static_cast<int>(status.code()));
  detailed.set_message(WithoutFolders(status.message()));
  detailed.add_details()->PackFrom(info);
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), detailed.message(), detailed.SerializeAsString());
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

}  // namespace parley::transport
