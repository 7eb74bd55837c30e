#include "clients/agent/task_member.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "clients/agent/agent.h"
#include "clients/agent/faults.h"
#include "clients/agent/identity.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "lib/base/error.h"
#include "lib/crypto/kdf.h"
#include "lib/crypto/signature.h"
#include "lib/keys/dial.h"
#include "lib/keys/identity.h"
#include "lib/transport/address.h"
#include "parley/task/v1/participation_service.grpc.pb.h"

namespace parley::agent {
namespace {

using task::v1::JoinRequest;
using task::v1::JoinResponse;

constexpr size_t kNonceBytes = 32;
constexpr absl::Duration kJoinTimeout = absl::Seconds(30);
// What a try gets however late it comes.
constexpr absl::Duration kLeastDial = absl::Milliseconds(100);

absl::Status Conflict(const TaskState& state, absl::string_view why) {
  return Error(absl::StatusCode::kFailedPrecondition, "STATE_CONFLICT",
               absl::StrCat(state.folder(), " belongs to ", why, "; give this client a state folder of its own"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<transport::Channel>> Connect(const std::string& address, const std::string& identity,
                                                            const Secret& secret, Clock* clock,
                                                            absl::Duration timeout) {
  transport::Dialer::Options options =
      keys::DialOptions(address, identity, secret, /*not_after=*/absl::InfiniteFuture(), clock);
  options.timeout = std::max(kLeastDial, std::min(options.timeout, timeout));
  return transport::Channel::Create(std::move(options));
}

absl::StatusOr<std::unique_ptr<transport::Channel>> ConnectAsMember(const Membership& membership, Clock* clock,
                                                                    absl::Duration timeout) {
  return Connect(membership.address(), membership.identity(), Secret::CopyOf(membership.secret()), clock, timeout);
}

absl::Status ExplainKey(const absl::Status& status, absl::Time not_after, Clock* clock) {
  if (FaultOf(status) != Fault::kKey || clock->Now() < not_after) return status;
  return Error(
      absl::StatusCode::kUnauthenticated, "KEY_EXPIRED",
      absl::StrCat("the key ended at ", absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", not_after, absl::UTCTimeZone()),
                   ", and the server refuses it; ask for a new one"));
}

// Checks that what was stored is of this client in this task.
absl::Status TaskMember::CheckStored() const {
  const Membership& stored = state_->membership();
  if (!credentials_.verification_key.empty() && credentials_.verification_key != stored.verification_key()) {
    return Conflict(*state_, absl::StrCat("another task that was called ", credentials_.task, " too"));
  }
  if (state_->joined() && !credentials_.client.empty() && credentials_.client != stored.client()) {
    return Conflict(*state_, absl::StrCat("client ", stored.client()));
  }
  return absl::OkStatus();
}

absl::Status TaskMember::SetTarget(const std::string& target, const std::string& given) {
  const std::string& stored = state_->membership().target();
  if (stored == target) return absl::OkStatus();
  std::error_code error;
  // It is a link, or a folder above it is.
  const auto plain = (std::filesystem::absolute(given, error) / ".").lexically_normal().parent_path();
  if (!stored.empty() && plain != target) {
    return Error(absl::StatusCode::kFailedPrecondition, "STATE_CONFLICT",
                 absl::StrCat(given, " leads to ", target, " now; it led to ", stored, " when ", credentials_.task,
                              " was joined; let it lead there again, or join anew with another state folder"));
  }
  if (!stored.empty()) {
    return Conflict(*state_, absl::StrCat("a client that updates ", stored, " in ", credentials_.task));
  }
  if (!state_->joined()) return absl::OkStatus();
  Membership updated = state_->membership();
  updated.set_target(target);
  return state_->SetMembership(std::move(updated));
}

std::string TaskMember::address() const {
  if (!options_.server.empty()) return options_.server;
  return credentials_.address.empty() ? state_->membership().address() : credentials_.address;
}

// To where the server is now.
absl::Status TaskMember::Move() {
  RETURN_IF_ERROR(transport::ParseServers(address()).status());
  if (address() == state_->membership().address()) return absl::OkStatus();
  Membership moved = state_->membership();
  moved.set_address(address());
  return state_->SetMembership(std::move(moved));
}

// Makes the nonce of a call that may have been made already, or a new one, durable.
absl::Status TaskMember::PrepareNonce(bool anew) {
  const Membership& stored = state_->membership();
  if (anew) {
    if (!stored.next_nonce().empty()) return absl::OkStatus();
    Membership next = stored;
    next.set_next_nonce(crypto::RandomBytes(kNonceBytes));
    return state_->SetMembership(std::move(next));
  }
  const std::string client = credentials_.client.empty() ? DefaultClientName() : credentials_.client;
  if (!IsClientName(client)) {
    return Error(absl::StatusCode::kInvalidArgument, "CLIENT_NAME",
                 "a client's name is 1 to 64 of a-z, 0-9, '.', '_' and '-', a letter or digit first; choose another "
                 "one");
  }
  if (!stored.nonce().empty() && stored.client() == client) return absl::OkStatus();
  Membership fresh;
  fresh.set_task(absl::StrCat("tasks/", credentials_.task));
  fresh.set_client(client);
  fresh.set_address(address());
  fresh.set_nonce(crypto::RandomBytes(kNonceBytes));
  fresh.set_verification_key(credentials_.verification_key);
  return state_->SetMembership(std::move(fresh));
}

absl::Status TaskMember::Call(const std::string& nonce, Retry* retry, JoinResponse* response) {
  JoinRequest request;
  request.set_client(state_->membership().client());
  request.set_nonce(nonce);
  if (credentials_.device) request.set_task(absl::StrCat("tasks/", credentials_.task));
  request.mutable_facts()->insert(options_.facts.begin(), options_.facts.end());
  ASSIGN_OR_RETURN(const auto channel,
                   Connect(address(), credentials_.identity, credentials_.secret, options_.clock, retry->left()));
  const auto stub = task::v1::ParticipationService::NewStub(channel->grpc());
  grpc::ClientContext context;
  // How long it may take to reach the server is the dialer's affair. One that has been reached gets the time that it
  // needs, however late it is.
  context.set_deadline(absl::ToChronoTime(absl::Now() + kJoinTimeout));
  const Cancellation::Listener on_cancel(cancellation_, [&context] { context.TryCancel(); });
  const grpc::Status status = stub->Join(&context, request, response);
  if (!channel->dialer().protocol().empty()) retry->Met();
  if (cancellation_->cancelled()) return Stopped();
  if (!status.ok()) return ExplainKey(Explain(*channel, status), credentials_.not_after, options_.clock);
  announce_(event::Connected{address(), channel->dialer().protocol()});
  return absl::OkStatus();
}

absl::Status TaskMember::Store(const std::string& nonce, JoinResponse* response) {
  Membership member = state_->membership();
  member.set_address(address());
  member.set_nonce(nonce);
  member.clear_next_nonce();
  member.set_participant(response->participant());
  member.set_identity(response->identity());
  member.set_secret(response->secret());
  *member.mutable_expire_time() = response->expire_time();
  WipeString(response->mutable_secret());
  if (member.verification_key().empty()) member.set_verification_key(response->task().verification_key());
  const bool whole = member.verification_key().size() == crypto::kVerificationKeyBytes && !member.identity().empty() &&
                     member.secret().size() == keys::kSecretBytes &&
                     response->task().name() == absl::StrCat("tasks/", credentials_.task);
  if (whole) return state_->SetMembership(std::move(member));
  WipeMembership(&member);
  return Error(absl::StatusCode::kDataLoss, "JOIN_MALFORMED",
               absl::StrCat(address(), " gave no usable key for ", credentials_.task, "; ask its operator"));
}

absl::Status TaskMember::JoinWith(std::string nonce) {
  RETURN_IF_ERROR(transport::ParseServers(address()).status());
  JoinResponse response;
  Retry retry(options_, credentials_.follow);
  while (true) {
    retry.Begin();
    const absl::Status status = Call(nonce, &retry, &response);
    met_ = met_ || retry.met();
    if (status.ok()) break;
    absl::Duration wait;
    RETURN_IF_ERROR(retry.Next(status, &wait));
    announce_(event::Disconnected{status, options_.clock->Now() + wait});
    RETURN_IF_ERROR(cancellation_->Sleep(wait));
  }
  RETURN_IF_ERROR(Store(nonce, &response));
  announce_(event::Joined{response.task().name(), response.participant()});
  return absl::OkStatus();
}

absl::Status TaskMember::Ensure() {
  if (!state_->membership().nonce().empty()) RETURN_IF_ERROR(CheckStored());
  if (state_->joined()) return Move();
  if (!can_join_anew()) {
    return Error(absl::StatusCode::kNotFound, "STATE_MISSING",
                 absl::StrCat(state_->folder(), " knows of no membership in ", credentials_.task, "; give a join key"));
  }
  RETURN_IF_ERROR(PrepareNonce(/*anew=*/false));
  return JoinWith(state_->membership().nonce());
}

absl::Status TaskMember::JoinAnew() {
  RETURN_IF_ERROR(PrepareNonce(/*anew=*/true));
  return JoinWith(state_->membership().next_nonce());
}

}  // namespace parley::agent
