// Whole enrolments, but for the people in them: an invitation is made, its link read, the newcomer connects with the
// link's key, both sides run the exchange of lib/sas from step 0 to step 8 with payloads of a usual size, and the
// greeter takes step 8. Every message is durable at the server before it is passed on.
//
// Argon2id and keyd have no part in it. Talks to a running enrolld and reads its processor time from /proc, so that the
// figures are the server's alone. tools/bench enrol starts the services and runs this.
#include <stdio.h>
#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "bench/measure.h"
#include "grpcpp/grpcpp.h"
#include "lib/base/error.h"
#include "lib/crypto/kdf.h"
#include "lib/keys/credential.h"
#include "lib/keys/identity.h"
#include "lib/keys/invitation_link.h"
#include "lib/sas/exchange.h"
#include "lib/transport/channel.h"
#include "parley/enrol/v1/exchange_service.grpc.pb.h"
#include "parley/enrol/v1/invitation_service.grpc.pb.h"

namespace parley {
namespace {

using bench::Connect;
using bench::OnThreads;
using bench::ProcessorSeconds;
using enrol::v1::ExchangeRequest;
using enrol::v1::ExchangeResponse;
using sas::Exchange;
using sas::Next;
using sas::Role;

// Steps 6 to 8: two public keys and names; a chain of some certificates and a credential; nothing much.
constexpr size_t kPayloadBytes[] = {200, 3000, 16};

struct Flags {
  std::string credential;
  int server_pid = 0;
  int exchanges = 1000;
  int at_once = 32;
};

// One side's stream and state machine.
class Side {
 public:
  Side(Role role, const transport::Channel* channel, std::string invitation)
      : role_(role), channel_(channel), invitation_(std::move(invitation)) {
    stream_ = enrol::v1::ExchangeService::NewStub(channel->grpc())->Exchange(&context_);
    ExchangeRequest request;
    request.mutable_hello()->set_invitation("invitations/" + invitation_);
    request.mutable_hello()->set_instance(crypto::RandomBytes(16));
    stream_->Write(request);
  }
  ~Side() {
    context_.TryCancel();
    if (!finished_) stream_->Finish();
  }

  // Until the relay waits for the other side.
  absl::Status Arrive() { return Read().status(); }
  absl::Status Begin() {
    ExchangeResponse response;
    while (response.state().phase() != enrol::v1::State::PHASE_EXCHANGING) {
      ASSIGN_OR_RETURN(response, Read());
    }
    attempt_ = response.state().attempt();
    ASSIGN_OR_RETURN(Exchange exchange,
                     Exchange::Begin(role_, {organisation, invitation_, attempt_, sas::Kind::kUser}));
    exchange_.emplace(std::move(exchange));
    Send(exchange_->last_sent());
    return absl::OkStatus();
  }
  absl::Status Receive() {
    ExchangeResponse response;
    while (!response.has_message()) {
      ASSIGN_OR_RETURN(response, Read());
      if (response.has_ended()) return absl::AbortedError(response.ended().sentence());
    }
    ASSIGN_OR_RETURN(const std::string reply, exchange_->Receive(response.message().message()));
    Send(reply);
    return absl::OkStatus();
  }
  absl::Status Pick(const Side& other) {
    for (size_t i = 0; i < exchange_->choices().size(); ++i) {
      if (!(exchange_->choices()[i] == *other.exchange_->own_code())) continue;
      ASSIGN_OR_RETURN(const std::string reply, exchange_->Pick(i));
      Send(reply);
      return absl::OkStatus();
    }
    return absl::InternalError("the codes differ");
  }
  absl::Status Say() {
    const size_t size = kPayloadBytes[exchange_->step() - 6];
    ASSIGN_OR_RETURN(const std::string message, exchange_->SendPayload(Secret(size)));
    Send(message);
    return absl::OkStatus();
  }
  absl::Status End() {
    if (role_ == Role::kGreeter) {
      ExchangeRequest request;
      request.mutable_done()->set_attempt(attempt_);
      stream_->Write(request);
    }
    ExchangeResponse response;
    while (!response.has_ended()) {
      ASSIGN_OR_RETURN(response, Read());
    }
    // How the stream ends says no more: the claimer's connection closes as soon as it has heard of the end.
    stream_->WritesDone();
    while (stream_->Read(&response)) {
    }
    finished_ = true;
    stream_->Finish();
    return absl::OkStatus();
  }

  static inline std::string organisation;

 private:
  absl::StatusOr<ExchangeResponse> Read() {
    ExchangeResponse response;
    if (stream_->Read(&response)) return response;
    finished_ = true;
    const absl::Status status = channel_->Explain(stream_->Finish());
    return status.ok() ? absl::AbortedError("the stream has ended") : status;
  }
  void Send(const std::string& message) {
    if (message.empty()) return;
    ExchangeRequest request;
    request.mutable_message()->set_attempt(attempt_);
    request.mutable_message()->set_message(message);
    stream_->Write(request);
  }

  const Role role_;
  const transport::Channel* const channel_;
  const std::string invitation_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<ExchangeRequest, ExchangeResponse>> stream_;
  bool finished_ = false;
  uint32_t attempt_ = 0;
  std::optional<Exchange> exchange_;
};

// An admin's connection.
class Admin {
 public:
  absl::Status Open(const std::string& credential_path) {
    ASSIGN_OR_RETURN(const keys::Credential credential, keys::ReadCredentialFile(credential_path));
    ASSIGN_OR_RETURN(const keys::AudienceKey* const key, credential.KeyFor(keys::kEnrolld));
    ASSIGN_OR_RETURN(channel_, Connect(key->address, key->identity, key->secret));
    stub_ = enrol::v1::InvitationService::NewStub(channel_->grpc());
    return absl::OkStatus();
  }

  absl::StatusOr<keys::InvitationLink> Invite() {
    enrol::v1::CreateInvitationRequest request;
    request.set_request_id(crypto::RandomUuid());
    request.set_kind(enrol::v1::Invitation::KIND_USER);
    request.set_user_name("bob");
    request.set_role(access::v1::ROLE_OPERATOR);
    enrol::v1::CreateInvitationResponse response;
    grpc::ClientContext context;
    RETURN_IF_ERROR(channel_->Explain(stub_->CreateInvitation(&context, request, &response)));
    return keys::ParseInvitationLink(Secret::Take(std::move(*response.mutable_link())), absl::Now());
  }

  // From the link to the end, of both sides.
  absl::Status Enrol(const keys::InvitationLink& link) {
    ASSIGN_OR_RETURN(const auto claiming, Connect(link.address, link.identity, link.secret));
    Side claimer(Role::kClaimer, claiming.get(), link.invitation);
    RETURN_IF_ERROR(claimer.Arrive());
    Side greeter(Role::kGreeter, channel_.get(), link.invitation);
    RETURN_IF_ERROR(claimer.Begin());
    RETURN_IF_ERROR(greeter.Begin());
    // Who receives, from step 0 to step 3.
    for (Side* const side : {&claimer, &greeter, &greeter, &claimer, &greeter}) RETURN_IF_ERROR(side->Receive());
    RETURN_IF_ERROR(greeter.Pick(claimer));
    RETURN_IF_ERROR(claimer.Pick(greeter));
    RETURN_IF_ERROR(greeter.Receive());
    for (Side* const side : {&claimer, &greeter, &claimer}) {
      RETURN_IF_ERROR(side->Receive());
      RETURN_IF_ERROR(side->Say());
    }
    RETURN_IF_ERROR(greeter.Receive());
    RETURN_IF_ERROR(claimer.End());
    return greeter.End();
  }

 private:
  std::unique_ptr<transport::Channel> channel_;
  std::unique_ptr<enrol::v1::InvitationService::Stub> stub_;
};

absl::Status RunMany(const Flags& flags, int count) {
  std::atomic<int> next = 0;
  return OnThreads(flags.at_once, [&]() -> absl::Status {
    Admin admin;
    RETURN_IF_ERROR(admin.Open(flags.credential));
    while (next++ < count) {
      ASSIGN_OR_RETURN(const keys::InvitationLink link, admin.Invite());
      RETURN_IF_ERROR(admin.Enrol(link));
    }
    return absl::OkStatus();
  });
}

// One after another on a machine that does nothing else: the median.
absl::Status MeasureOne(const Flags& flags) {
  Admin admin;
  RETURN_IF_ERROR(admin.Open(flags.credential));
  std::vector<absl::Duration> times;
  for (int i = 0; i < 50; ++i) {
    ASSIGN_OR_RETURN(const keys::InvitationLink link, admin.Invite());
    const absl::Time start = absl::Now();
    RETURN_IF_ERROR(admin.Enrol(link));
    times.push_back(absl::Now() - start);
  }
  std::sort(times.begin(), times.end());
  absl::PrintF("figure enrolment_ms %.1f ms\n", absl::ToDoubleMilliseconds(times[times.size() / 2]));
  return absl::OkStatus();
}

absl::Status Run(const Flags& flags) {
  Admin admin;
  RETURN_IF_ERROR(admin.Open(flags.credential));
  ASSIGN_OR_RETURN(const keys::InvitationLink link, admin.Invite());
  Side::organisation = link.organisation;
  RETURN_IF_ERROR(RunMany(flags, flags.exchanges / 10));
  RETURN_IF_ERROR(MeasureOne(flags));
  const double before = ProcessorSeconds(flags.server_pid);
  const absl::Time start = absl::Now();
  RETURN_IF_ERROR(RunMany(flags, flags.exchanges));
  const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
  const double processor = ProcessorSeconds(flags.server_pid) - before;
  absl::PrintF("figure enrolments_per_server_core %.0f a second\n", flags.exchanges / processor);
  absl::PrintF("figure enrolments_per_second %.0f a second\n", flags.exchanges / seconds);
  return absl::OkStatus();
}

}  // namespace
}  // namespace parley

int main(int argc, char** argv) {
  parley::Flags flags;
  if (argc < 3) {
    absl::FPrintF(stderr, "usage: enrol_benchmark CREDENTIAL SERVER_PID [EXCHANGES [AT_ONCE]]\n");
    return 2;
  }
  flags.credential = argv[1];
  flags.server_pid = atoi(argv[2]);
  if (argc > 3) flags.exchanges = atoi(argv[3]);
  if (argc > 4) flags.at_once = atoi(argv[4]);
  const absl::Status status = parley::Run(flags);
  if (!status.ok()) {
    absl::FPrintF(stderr, "bench enrol: %s\n", status.message());
    return 1;
  }
  return 0;
}
