#include "lib/rpc/gate.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"
#include "grpcpp/server_context.h"
#include "lib/base/error.h"
#include "lib/keys/roles.h"
#include "lib/transport/grpc_status.h"

namespace parley::rpc {
namespace {

using google::protobuf::MethodDescriptor;

// Null for a method that nobody declared.
const MethodDescriptor* FindMethod(absl::string_view method) {
  return google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(std::string(method));
}

// False for a method that nobody declared, or that names no role.
bool MayCall(access::v1::Role role, const MethodDescriptor* descriptor) {
  if (descriptor == nullptr || role == access::v1::ROLE_UNSPECIFIED) return false;
  const auto& roles = descriptor->options().GetExtension(access::v1::access).roles();
  return std::find(roles.begin(), roles.end(), role) != roles.end();
}

// Returns the type of a method in the words of the metrics.
absl::string_view TypeOf(const MethodDescriptor* descriptor) {
  const bool in = descriptor != nullptr && descriptor->client_streaming();
  const bool out = descriptor != nullptr && descriptor->server_streaming();
  if (in) return out ? "bidi_stream" : "client_stream";
  return out ? "server_stream" : "unary";
}

}  // namespace

std::string Caller::Name() const { return absl::StrCat(keys::RoleName(role()), "/", subject()); }

Gate::Gate(FindPeer find_peer, audit::AuditLog* audit, WorkerPool* workers, Metrics* metrics, Admits admits)
    : find_peer_(std::move(find_peer)),
      admits_(std::move(admits)),
      audit_(audit),
      workers_(workers),
      metrics_(metrics) {}

absl::StatusOr<Caller> Gate::Admit(const grpc::ServerContextBase& context, absl::string_view method) const {
  const MethodDescriptor* const descriptor = FindMethod(method);
  Caller caller{find_peer_(context), std::make_shared<Call>(metrics_, context, method, TypeOf(descriptor))};
  if (caller.peer == nullptr) {
    const absl::Status gone = Unauthenticated(
        "CONNECTION_CLOSED", "the connection's key was revoked or has expired; connect again with a valid one");
    caller.call->End(gone);
    return gone;
  }
  // Connections close in the very moment that nobody is admitted any more; a process that was stopped in between comes
  // here first.
  if (const absl::Status admits = admits_ ? admits_() : absl::OkStatus(); !admits.ok()) {
    caller.call->End(admits);
    return admits;
  }
  caller.call->set_caller(caller.Name());
  if (MayCall(caller.role(), descriptor)) return caller;
  const absl::Status refused =
      audit::RecordRefusal(audit_, caller.Name(), method, "ROLE_NOT_ALLOWED",
                           absl::StrCat("a key with the role ", keys::RoleName(caller.role()), " may not call ", method,
                                        "; use a credential with a role that may"));
  caller.call->End(refused);
  return refused;
}

grpc::ServerUnaryReactor* Gate::Unary(grpc::CallbackServerContext* context, absl::string_view method,
                                      std::function<absl::Status(const Caller&)> handler) const {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  absl::StatusOr<Caller> caller = Admit(*context, method);
  if (!caller.ok()) {
    reactor->Finish(transport::ToGrpc(caller.status()));
    return reactor;
  }
  const Flow flow = caller->flow();
  Call* const call = caller->call.get();
  std::function<void()> work = [context, reactor, caller = *std::move(caller), handler = std::move(handler)]() mutable {
    const ScopedTrace trace(caller.call->trace());
    // It may have waited long, and nobody would read the answer: a peer that begins calls and cancels them costs no
    // more.
    const absl::Status status = context->IsCancelled() ? absl::CancelledError("the client has gone") : handler(caller);
    caller.call->End(status);
    // Counted before it is answered, so that who has the answer finds it in the metrics.
    caller.call = nullptr;
    reactor->Finish(transport::ToGrpc(status));
  };
  if (workers_->TryRun(flow, &work)) return reactor;
  const absl::Status refused = Error(absl::StatusCode::kResourceExhausted, "TOO_MANY_CALLS",
                                     "too many calls of this connection wait; wait for some of their answers first");
  call->End(refused);
  work = nullptr;
  reactor->Finish(transport::ToGrpc(refused));
  return reactor;
}

}  // namespace parley::rpc
