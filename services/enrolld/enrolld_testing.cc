#include "services/enrolld/enrolld_testing.h"

#include <stdlib.h>

#include <chrono>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpcpp/server_builder.h"
#include "lib/base/encoding.h"
#include "lib/crypto/kdf.h"
#include "lib/rpc/errors.h"
#include "lib/store/sqlite_store.h"

namespace parley::enrolld {
namespace {

constexpr absl::Duration kDeadline = absl::Seconds(30);

}  // namespace

void FakeAuditLog::Record(key::v1::AuditEvent event) {
  MutexLock lock(&mutex_);
  events_.push_back(std::move(event));
}

bool FakeAuditLog::Has(absl::string_view action, absl::string_view outcome) const {
  MutexLock lock(&mutex_);
  for (const auto& event : events_) {
    if (event.action() == action && event.outcome() == outcome) return true;
  }
  return false;
}

std::string FakeAuditLog::Text() const {
  MutexLock lock(&mutex_);
  std::string text;
  for (const auto& event : events_) absl::StrAppend(&text, event.SerializeAsString());
  return text;
}

TestClient::TestClient(const std::string& address, const keys::Keyring::Minted& key, Clock* clock) {
  transport::Dialer::Options options;
  options.address = address;
  options.identity = key.identity;
  options.psk = keys::DerivePsk(key.secret);
  options.clock = clock;
  channel_ = *transport::Channel::Create(std::move(options));
  invitations_ = InvitationService::NewStub(channel_->grpc());
  exchanges_ = ExchangeService::NewStub(channel_->grpc());
}

void TestClient::SetDeadline(grpc::ClientContext* context) {
  context->set_deadline(absl::ToChronoTime(absl::Now() + kDeadline));
}

absl::Status TestClient::Explain(const grpc::Status& status) const { return rpc::FromGrpc(status); }

TestStream::TestStream(TestClient* client, std::string invitation, char instance)
    : client_(client), invitation_(std::move(invitation)), instance_(instance) {
  TestClient::SetDeadline(&context_);
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
  return client_->Explain(stream_->Finish());
}

void TestStream::Cancel() {
  context_.TryCancel();
  (void)Finish();
}

EnrolldTest::EnrolldTest() : folder_(testing::TempDir() + "/enrolld.XXXXXX"), root_(crypto::RandomSecret(32)) {
  EXPECT_NE(mkdtemp(folder_.data()), nullptr);
  std::map<uint32_t, Secret> epochs;
  epochs.emplace(1, keys::DeriveAudienceKey(root_, keys::kEnrolld));
  EXPECT_TRUE(keyring_.Replace(std::move(epochs), 1).ok());
  Start();
}

EnrolldTest::~EnrolldTest() {
  Stop();
  std::filesystem::remove_all(folder_);
}

void EnrolldTest::Start() {
  auto store = store::OpenSqliteStore({.path = folder_ + "/enrolld.db", .clock = &clock_});
  ASSERT_TRUE(store.ok()) << store.status();
  store_ = *std::move(store);
  key_source_ = std::make_unique<keys::AudienceKeySource>(&keyring_, &clock_);
  transport::Listener::Options listener;
  listener.address = address_;
  listener.clock = &clock_;
  auto door = transport::GrpcDoor::Create(std::move(listener), key_source_.get());
  ASSERT_TRUE(door.ok()) << door.status();
  door_ = *std::move(door);
  address_ = door_->listener().address();
  Enrolld::Config config;
  config.store = store_.get();
  config.keyring = &keyring_;
  config.organisation = "Example";
  config.public_address = address_;
  config.mailer = mailer_;
  config.audit = &audit_;
  config.clock = &clock_;
  config.workers = 8;
  config.find_peer = [this](const grpc::ServerContextBase& context) { return door_->PeerOf(context); };
  config.revoke = [this](const std::string& serial, absl::Time not_after) {
    key_source_->Revoke(serial, not_after);
    door_->listener().CloseKey(HexEncode(serial));
  };
  auto enrolld = Enrolld::Create(std::move(config));
  ASSERT_TRUE(enrolld.ok()) << enrolld.status();
  enrolld_ = *std::move(enrolld);
  grpc::ServerBuilder builder;
  enrolld_->Register(&builder);
  ASSERT_TRUE(door_->Serve(&builder).ok());
  admin_ = Connect(access::v1::ROLE_ADMIN, "alice");
}

void EnrolldTest::Stop(bool drain) {
  admin_ = nullptr;
  if (enrolld_ == nullptr) return;
  if (drain) enrolld_->Drain();
  door_->Shutdown(absl::Now() + (drain ? absl::Seconds(5) : absl::ZeroDuration()));
  door_->Wait();
  enrolld_ = nullptr;
  door_ = nullptr;
  store_ = nullptr;
}

keys::Keyring::Minted EnrolldTest::Mint(access::v1::Role role, const std::string& subject, absl::Duration ttl) {
  return *keyring_.Mint({role, subject, crypto::RandomBytes(keys::kSerialBytes), clock_.Now() + ttl});
}

std::unique_ptr<TestClient> EnrolldTest::Connect(const keys::Keyring::Minted& key) {
  return std::make_unique<TestClient>(address_, key, &clock_);
}

std::unique_ptr<TestClient> EnrolldTest::Connect(access::v1::Role role, const std::string& subject) {
  return Connect(Mint(role, subject));
}

keys::InvitationLink EnrolldTest::Link(const CreateInvitationResponse& invited) {
  auto link = keys::ParseInvitationLink(Secret::CopyOf(invited.link()), clock_.Now());
  EXPECT_TRUE(link.ok()) << link.status();
  return *std::move(link);
}

std::unique_ptr<TestClient> EnrolldTest::Claimer(const CreateInvitationResponse& invited) {
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

sas::Context EnrolldTest::ContextOf(const std::string& invitation, uint32_t attempt) {
  return {"Example", invitation.substr(invitation.find('/') + 1), attempt, sas::Kind::kUser};
}

}  // namespace parley::enrolld
