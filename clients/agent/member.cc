#include "clients/agent/member.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "clients/agent/faults.h"
#include "clients/agent/identity.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "lib/base/error.h"
#include "lib/crypto/kdf.h"
#include "lib/crypto/signature.h"
#include "lib/keys/identity.h"
#include "parley/task/v1/participation_service.grpc.pb.h"

namespace parley::agent {
namespace {

using task::v1::JoinRequest;
using task::v1::JoinResponse;

constexpr size_t kNonceBytes = 32;
constexpr absl::Duration kJoinTimeout = absl::Seconds(30);

absl::Status Conflict(const TaskState& state, absl::string_view why) {
  return Error(absl::StatusCode::kFailedPrecondition, "STATE_CONFLICT",
               absl::StrCat(state.folder(), " belongs to ", why, "; give this client a state folder of its own"));
}

absl::Status CheckClientName(const std::string& name) {
  if (IsClientName(name)) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "CLIENT_NAME",
               "a client's name is 1 to 64 of a-z, 0-9, '.', '_' and '-', a letter or digit first; choose another one");
}

// Whether what was kept is of this client in this task.
absl::Status CheckKept(const Entry& entry, const TaskState& state) {
  const Membership& kept = state.membership();
  if (!entry.verification_key.empty() && entry.verification_key != kept.verification_key()) {
    return Conflict(state, absl::StrCat("another task that was called ", entry.task, " too"));
  }
  if (state.joined() && !entry.client.empty() && entry.client != kept.client()) {
    return Conflict(state, absl::StrCat("client ", kept.client()));
  }
  if (state.joined() && entry.target != kept.target()) {
    return Conflict(state, absl::StrCat("a client that updates ", kept.target(), " in ", entry.task));
  }
  return absl::OkStatus();
}

// The nonce of a call that may have been made already, or a new one.
absl::StatusOr<JoinRequest> PrepareJoin(const Options& options, const Entry& entry, TaskState* state) {
  const std::string client = entry.client.empty() ? DefaultClientName() : entry.client;
  RETURN_IF_ERROR(CheckClientName(client));
  if (state->membership().nonce().empty() || state->membership().client() != client) {
    Membership fresh;
    fresh.set_task(absl::StrCat("tasks/", entry.task));
    fresh.set_client(client);
    fresh.set_address(entry.address);
    fresh.set_nonce(crypto::RandomBytes(kNonceBytes));
    fresh.set_verification_key(entry.verification_key);
    RETURN_IF_ERROR(state->SetMembership(std::move(fresh)));
  }
  JoinRequest request;
  request.set_client(client);
  request.set_nonce(state->membership().nonce());
  if (entry.device) request.set_task(absl::StrCat("tasks/", entry.task));
  request.mutable_labels()->insert(options.labels.begin(), options.labels.end());
  return request;
}

absl::Status CallJoin(const Options& options, const Entry& entry, const JoinRequest& request, const Announcer& announce,
                      Cancellation* cancellation, JoinResponse* response) {
  ASSIGN_OR_RETURN(const auto channel,
                   Connect(entry.address, entry.identity, entry.secret, entry.not_after, options.clock));
  const auto stub = task::v1::ParticipationService::NewStub(channel->grpc());
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + kJoinTimeout));
  const Cancellation::Listener on_cancel(cancellation, [&context] { context.TryCancel(); });
  const grpc::Status status = stub->Join(&context, request, response);
  if (cancellation->cancelled()) return Stopped();
  if (!status.ok()) return Explain(*channel, status);
  announce([&](Observer* o) { o->Connected(entry.address, channel->dialer().protocol()); });
  return absl::OkStatus();
}

absl::Status Keep(const Entry& entry, JoinResponse* response, TaskState* state) {
  Membership member = state->membership();
  member.set_address(entry.address);
  member.set_target(entry.target);
  member.set_participant(response->participant());
  member.set_identity(response->identity());
  member.set_secret(response->secret());
  *member.mutable_expire_time() = response->expire_time();
  WipeString(response->mutable_secret());
  if (member.verification_key().empty()) member.set_verification_key(response->task().verification_key());
  const bool whole = member.verification_key().size() == crypto::kVerificationKeyBytes && !member.identity().empty() &&
                     member.secret().size() == keys::kSecretBytes &&
                     response->task().name() == absl::StrCat("tasks/", entry.task);
  if (whole) return state->SetMembership(std::move(member));
  WipeMembership(&member);
  return Error(absl::StatusCode::kDataLoss, "JOIN_MALFORMED",
               absl::StrCat(entry.address, " gave no usable key for ", entry.task, "; ask its operator"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<transport::Channel>> Connect(const std::string& address, const std::string& identity,
                                                            const Secret& secret, absl::Time not_after, Clock* clock) {
  transport::Dialer::Options options;
  options.address = address;
  options.identity = identity;
  options.psk = keys::DerivePsk(secret);
  options.not_after = not_after;
  options.clock = clock;
  return transport::Channel::Create(std::move(options));
}

absl::StatusOr<std::unique_ptr<transport::Channel>> ConnectAsMember(const Membership& membership, Clock* clock) {
  return Connect(membership.address(), membership.identity(), Secret::CopyOf(membership.secret()),
                 absl::FromUnixSeconds(membership.expire_time().seconds()), clock);
}

absl::Status EnsureMember(const Options& options, const Entry& entry, TaskState* state, const Announcer& announce,
                          Cancellation* cancellation) {
  if (!state->membership().nonce().empty()) RETURN_IF_ERROR(CheckKept(entry, *state));
  if (state->joined()) {
    if (entry.address.empty() || entry.address == state->membership().address()) return absl::OkStatus();
    Membership moved = state->membership();
    moved.set_address(entry.address);
    return state->SetMembership(std::move(moved));
  }
  if (entry.identity.empty()) {
    return Error(absl::StatusCode::kNotFound, "STATE_MISSING",
                 absl::StrCat(state->folder(), " knows of no membership in ", entry.task, "; give a join key"));
  }
  ASSIGN_OR_RETURN(const JoinRequest request, PrepareJoin(options, entry, state));
  JoinResponse response;
  Retry retry(options);
  while (true) {
    const absl::Status status = CallJoin(options, entry, request, announce, cancellation, &response);
    if (status.ok()) break;
    absl::Duration wait;
    RETURN_IF_ERROR(retry.Next(status, &wait));
    announce([&](Observer* o) { o->Disconnected(status, options.clock->Now() + wait); });
    RETURN_IF_ERROR(cancellation->Sleep(wait));
  }
  RETURN_IF_ERROR(Keep(entry, &response, state));
  announce([&](Observer* o) { o->Joined(response.task(), response.participant()); });
  return absl::OkStatus();
}

}  // namespace parley::agent
