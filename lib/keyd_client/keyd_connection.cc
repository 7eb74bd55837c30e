#include "lib/keyd_client/keyd_connection.h"

#include <grpcpp/channel.h>

#include <utility>

#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/trace.h"
#include "lib/keys/credential.h"
#include "lib/keys/dial.h"
#include "lib/keys/identity.h"

namespace parley::keyd_client {
namespace {

absl::StatusOr<keys::Credential> ReadServiceCredential(const std::string& path) {
  ASSIGN_OR_RETURN(keys::Credential credential, keys::ReadCredentialFile(path));
  if (credential.role == access::v1::ROLE_SERVICE && credential.KeyFor(keys::kKeyd).ok()) return credential;
  return InvalidArgument("CREDENTIAL_ROLE", path,
                         " is not a service's credential; use the one that keyd wrote for this service");
}

}  // namespace

absl::Status KeydConnection::Check(const std::string& credential_path) {
  ASSIGN_OR_RETURN(const keys::Credential credential, ReadServiceCredential(credential_path));
  if (credential.not_after > Clock::System()->Now()) return absl::OkStatus();
  return FailedPrecondition("CREDENTIAL_EXPIRED", credential_path,
                            " has expired; start keyd anew, which writes another one");
}

absl::StatusOr<std::unique_ptr<KeydConnection>> KeydConnection::Create(const std::string& credential_path,
                                                                       const std::string& address, Clock* clock) {
  std::unique_ptr<KeydConnection> connection(new KeydConnection(credential_path, address, clock));
  RETURN_IF_ERROR(connection->Connect());
  return connection;
}

absl::Status KeydConnection::Connect() {
  ASSIGN_OR_RETURN(const keys::Credential credential, ReadServiceCredential(path_));
  ASSIGN_OR_RETURN(transport::Dialer::Options dialer, keys::DialOptions(credential, keys::kKeyd, clock_));
  if (!given_address_.empty()) dialer.address = given_address_;
  const std::string address = dialer.address;
  auto link = std::make_shared<Link>();
  link->serial = credential.serial;
  link->not_after = credential.not_after;
  ASSIGN_OR_RETURN(link->channel, transport::Channel::Create(std::move(dialer)));
  link->stub = key::v1::KeyService::NewStub(link->channel->grpc());
  MutexLock lock(&mutex_);
  if (link_ == nullptr) {
    audience_ = credential.subject;
    address_ = address;
  }
  link_ = std::move(link);
  return absl::OkStatus();
}

absl::Status KeydConnection::Run(const Call& call, absl::Time deadline) {
  grpc::ClientContext context;
  const TraceContext* const current = CurrentTrace();
  context.AddMetadata("traceparent", (current == nullptr ? TraceContext::New() : current->Child()).Header());
  if (deadline != absl::InfiniteFuture()) context.set_deadline(absl::ToChronoTime(deadline));
  std::shared_ptr<const Link> link;
  {
    MutexLock lock(&mutex_);
    if (stopped_) return absl::CancelledError("the connection to keyd was stopped");
    calls_.insert(&context);
    link = link_;
  }
  const grpc::Status result = call(link->stub.get(), &context);
  {
    MutexLock lock(&mutex_);
    calls_.erase(&context);
  }
  absl::Status status = link->channel->Explain(result);
  if (absl::IsUnauthenticated(status) || link->not_after <= clock_->Now()) ReadCredentialAgain(link->serial);
  return status;
}

void KeydConnection::ReadCredentialAgain(const std::string& refused_serial) {
  const absl::StatusOr<keys::Credential> credential = keys::ReadCredentialFile(path_);
  {
    MutexLock lock(&mutex_);
    // Another call may have been faster.
    if (link_->serial != refused_serial) return;
  }
  if (!credential.ok() || credential->serial == refused_serial || credential->subject != audience_) return;
  const absl::Status connected = Connect();
  if (connected.ok()) {
    LogInfo("keyd refused the credential; using the new one of its file", {{"path", path_}});
  } else {
    LogWarning("the new credential cannot be used", {{"error", std::string(connected.message())}});
  }
}

void KeydConnection::Stop() {
  MutexLock lock(&mutex_);
  stopped_ = true;
  for (grpc::ClientContext* const context : calls_) context->TryCancel();
}

}  // namespace parley::keyd_client
