#include "lib/rpc/gate.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "google/protobuf/descriptor.h"
#include "grpcpp/server_context.h"
#include "lib/base/error.h"
#include "lib/rpc/errors.h"

namespace parley::rpc {
namespace {

// False for a method that nobody declared, or that names no role.
bool MayCall(access::v1::Role role, absl::string_view method) {
  const auto* const descriptor =
      google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(std::string(method));
  if (descriptor == nullptr || role == access::v1::ROLE_UNSPECIFIED) return false;
  const auto& roles = descriptor->options().GetExtension(access::v1::access).roles();
  return std::find(roles.begin(), roles.end(), role) != roles.end();
}

}  // namespace

std::string RoleName(access::v1::Role role) {
  const std::string name = access::v1::Role_Name(role);
  return absl::AsciiStrToLower(absl::StripPrefix(name, "ROLE_"));
}

std::string Caller::Name() const { return absl::StrCat(RoleName(role()), "/", subject()); }

Gate::Gate(FindPeer find_peer, AuditLog* audit, WorkerPool* workers)
    : find_peer_(std::move(find_peer)), audit_(audit), workers_(workers) {}

absl::StatusOr<Caller> Gate::Admit(const grpc::ServerContextBase& context, absl::string_view method) const {
  Caller caller{find_peer_(context)};
  if (caller.peer == nullptr) {
    return Error(absl::StatusCode::kUnauthenticated, "CONNECTION_CLOSED",
                 "the connection's key was revoked or has expired; connect again with a valid one");
  }
  if (MayCall(caller.role(), method)) return caller;
  return Refuse(audit_, caller.Name(), method, "ROLE_NOT_ALLOWED",
                absl::StrCat("a key with the role ", RoleName(caller.role()), " may not call ", method,
                             "; use a credential with a role that may"));
}

grpc::ServerUnaryReactor* Gate::Unary(grpc::CallbackServerContext* context, absl::string_view method,
                                      std::function<absl::Status(const Caller&)> handler) const {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  absl::StatusOr<Caller> caller = Admit(*context, method);
  if (!caller.ok()) {
    reactor->Finish(ToGrpc(caller.status()));
    return reactor;
  }
  workers_->Run([reactor, caller = *std::move(caller), handler = std::move(handler)] {
    reactor->Finish(ToGrpc(handler(caller)));
  });
  return reactor;
}

}  // namespace parley::rpc
