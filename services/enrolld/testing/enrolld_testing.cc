#include "services/enrolld/testing/enrolld_testing.h"

#include <utility>

#include "grpcpp/server_builder.h"
#include "lib/crypto/kdf.h"

namespace parley::enrolld {
EnrolldTestClient::EnrolldTestClient(const std::string& address, const keys::Keyring::Minted& key, Clock* clock)
    : ServiceClient(address, key, clock),
      invitations_(InvitationService::NewStub(channel())),
      exchanges_(ExchangeService::NewStub(channel())) {}

TestStream::TestStream(EnrolldTestClient* client, std::string invitation, char instance)
    : connection_(client->connection()), invitation_(std::move(invitation)), instance_(instance) {
  EnrolldTestClient::SetDeadline(&context_);
  stream_ = client->exchanges().Exchange(&context_);
}

TestStream::~TestStream() {
  if (!finished_) Cancel();
}

void TestStream::Hello(uint32_t attempt, uint32_t step) {
  ExchangeRequest request;
  request.mutable_hello()->set_invitation(invitation_);
  request.mutable_hello()->set_instance(std::string(16, instance_));
  request.mutable_hello()->set_attempt(attempt);
  request.mutable_hello()->set_step(step);
  Write(request);
}

void TestStream::Send(uint32_t attempt, const std::string& message) {
  ExchangeRequest request;
  request.mutable_message()->set_attempt(attempt);
  request.mutable_message()->set_message(message);
  Write(request);
}

void TestStream::Stop(uint32_t attempt, const std::string& reason, bool suspected) {
  ExchangeRequest request;
  request.mutable_stop()->set_attempt(attempt);
  request.mutable_stop()->set_reason(reason);
  request.mutable_stop()->set_suspected(suspected);
  Write(request);
}

void TestStream::Done(uint32_t attempt) {
  ExchangeRequest request;
  request.mutable_done()->set_attempt(attempt);
  Write(request);
}

ExchangeResponse TestStream::Read() {
  ExchangeResponse response;
  if (!stream_->Read(&response)) return ExchangeResponse();
  return response;
}

enrol::v1::State TestStream::ReadState() {
  while (true) {
    const ExchangeResponse response = Read();
    if (response.has_state() || response.response_case() == 0) return response.state();
  }
}

std::string TestStream::ReadMessage() {
  while (true) {
    const ExchangeResponse response = Read();
    if (response.has_message() || response.response_case() == 0) return response.message().message();
  }
}

Ended TestStream::ReadEnded() {
  while (true) {
    const ExchangeResponse response = Read();
    if (response.has_ended() || response.response_case() == 0) return response.ended();
  }
}

absl::Status TestStream::Finish() {
  finished_ = true;
  stream_->WritesDone();
  while (Read().response_case() != 0) {
  }
  return connection_->Explain(stream_->Finish());
}

void TestStream::Cancel() {
  context_.TryCancel();
  (void)Finish();
}

EnrolldTest::EnrolldTest() : ServiceTest(std::string(keys::kEnrolld)) { Start(); }

EnrolldTest::~EnrolldTest() { Stop(); }

void EnrolldTest::Start() {
  ASSERT_NO_FATAL_FAILURE(Open());
  Enrolld::Config config = NewConfig<Enrolld::Config>();
  config.organisation = "Example";
  config.mailer = mailer_;
  auto enrolld = Enrolld::Create(std::move(config));
  ASSERT_TRUE(enrolld.ok()) << enrolld.status();
  enrolld_ = *std::move(enrolld);
  grpc::ServerBuilder builder;
  enrolld_->Register(&builder);
  Serve(&builder);
  admin_ = Connect(access::v1::ROLE_ADMIN, "alice");
}

void EnrolldTest::Stop(bool drain) {
  admin_ = nullptr;
  if (enrolld_ == nullptr) return;
  if (drain) enrolld_->Drain();
  Shutdown(drain ? absl::Seconds(5) : absl::ZeroDuration());
  enrolld_ = nullptr;
  Close();
}

std::unique_ptr<EnrolldTestClient> EnrolldTest::Connect(const keys::Keyring::Minted& key) {
  return std::make_unique<EnrolldTestClient>(address_, key, &clock_);
}

std::unique_ptr<EnrolldTestClient> EnrolldTest::Connect(access::v1::Role role, const std::string& subject) {
  return Connect(Mint(role, subject));
}

keys::InvitationLink EnrolldTest::Link(const CreateInvitationResponse& invited) {
  auto link = keys::ParseInvitationLink(Secret::CopyOf(invited.link()), clock_.Now());
  EXPECT_TRUE(link.ok()) << link.status();
  return *std::move(link);
}

std::unique_ptr<EnrolldTestClient> EnrolldTest::Claimer(const CreateInvitationResponse& invited) {
  keys::InvitationLink link = Link(invited);
  return Connect(keys::Keyring::Minted{link.identity, std::move(link.secret)});
}

CreateInvitationRequest EnrolldTest::NewUser(const std::string& name, access::v1::Role role) {
  CreateInvitationRequest request;
  request.set_request_id(crypto::RandomUuid());
  request.set_kind(Invitation::KIND_USER);
  request.set_user_name(name);
  request.set_role(role);
  return request;
}

CreateInvitationResponse EnrolldTest::Invite(const std::string& name) {
  auto invited = admin().Call(&InvitationService::Stub::CreateInvitation, NewUser(name));
  EXPECT_TRUE(invited.ok()) << invited.status();
  return *std::move(invited);
}

Invitation EnrolldTest::Get(const std::string& name) {
  enrol::v1::GetInvitationRequest request;
  request.set_name(name);
  auto invitation = admin().Call(&InvitationService::Stub::GetInvitation, request);
  EXPECT_TRUE(invitation.ok()) << invitation.status();
  return *std::move(invitation);
}

}  // namespace parley::enrolld
