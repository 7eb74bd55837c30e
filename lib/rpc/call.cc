#include "lib/rpc/call.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpcpp/server_context.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/rpc/metrics.h"

namespace parley::rpc {
namespace {

TraceContext TraceOf(const grpc::ServerContextBase& context) {
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find("traceparent");
  if (found == metadata.end()) return TraceContext::New();
  const auto given = TraceContext::FromHeader(absl::string_view(found->second.data(), found->second.size()));
  return given.has_value() ? given->Child() : TraceContext::New();
}

// Not what a caller can do anything about.
bool IsOurFault(absl::StatusCode code) {
  return code == absl::StatusCode::kUnknown || code == absl::StatusCode::kInternal ||
         code == absl::StatusCode::kDataLoss;
}

}  // namespace

Call::Call(Metrics* metrics, const grpc::ServerContextBase& context, absl::string_view method, absl::string_view type)
    : metrics_(metrics),
      method_(method),
      type_(type),
      trace_(TraceOf(context)),
      began_(absl::Now()),
      status_(absl::CancelledError("the client has gone")) {
  if (metrics_ != nullptr) metrics_->Started(method_, type_);
}

Call::~Call() {
  const absl::Duration took = absl::Now() - began_;
  if (metrics_ != nullptr) metrics_->Handled(method_, type_, status_.code(), took);
  const bool failed = IsOurFault(status_.code());
  if (!failed && !trace_.sampled) return;
  const ScopedTrace scope(trace_);
  const auto log = failed ? LogError : LogInfo;
  log("call", {{"method", method_},
               {"caller", caller_},
               {"code", absl::StatusCodeToString(status_.code())},
               {"reason", Reason(status_)},
               {"error", failed ? std::string(status_.message()) : ""},
               {"milliseconds", absl::StrCat(absl::ToInt64Milliseconds(took))}});
}

}  // namespace parley::rpc
