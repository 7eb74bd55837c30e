#include "services/enrolld/testing/replica_testing.h"

#include <utility>

#include "absl/time/clock.h"
#include "grpcpp/server_builder.h"
#include "lib/store/sqlite_store.h"

namespace parley::enrolld {

void Replica::Start() {
  key_source_ = std::make_unique<keys::AudienceKeySource>(keyring_, clock_);
  transport::Listener::Options listener;
  listener.address = address_;
  listener.clock = clock_;
  auto door = transport::GrpcDoor::Create(std::move(listener), key_source_.get());
  ASSERT_TRUE(door.ok()) << door.status();
  door_ = *std::move(door);
  address_ = door_->listener().address();
  store::Replicas::Options joining;
  joining.store = &shared_;
  joining.service = "enrolld";
  joining.ttl = ttl_;
  joining.read_anew = [this] { return ReadAnew(); };
  replicas_ = std::make_unique<store::Replicas>(std::move(joining));
  Enrolld::Config config;
  config.store = &shared_;
  config.keyring = keyring_;
  config.organisation = "Example";
  config.public_address = address_;
  config.mailer = &mailer_;
  config.audit = &audit_;
  config.clock = clock_;
  config.replicas = replicas_.get();
  config.workers = 8;
  config.find_peer = [this](const grpc::ServerContextBase& context) { return door_->PeerOf(context); };
  config.revoke = [this](const std::string& serial, absl::Time not_after) {
    key_source_->Revoke(serial, not_after);
    door_->listener().CloseKey(HexEncode(serial));
  };
  auto enrolld = Enrolld::Create(std::move(config));
  ASSERT_TRUE(enrolld.ok()) << enrolld.status();
  enrolld_ = *std::move(enrolld);
  SetReadsAnew(true);
  ASSERT_EQ(replicas_->Join(), absl::OkStatus());
  lease_ = replicas_->lease();
  grpc::ServerBuilder builder;
  enrolld_->Register(&builder);
  ASSERT_TRUE(door_->Serve(&builder).ok());
}

absl::Status Replica::ReadAnew() {
  MutexLock lock(&mutex_);
  return reads_anew_ ? enrolld_->ReadAnew() : absl::OkStatus();
}

void Replica::SetReadsAnew(bool reads_anew) {
  MutexLock lock(&mutex_);
  reads_anew_ = reads_anew;
}

void Replica::Stop() {
  if (enrolld_ == nullptr) return;
  enrolld_->Drain();
  Shutdown(absl::Seconds(5));
}

void Replica::Kill() {
  shared_.CutOff(true);
  Shutdown(absl::ZeroDuration());
  shared_.CutOff(false);
}

void Replica::Shutdown(absl::Duration grace) {
  door_->Shutdown(absl::Now() + grace);
  door_->Wait();
  SetReadsAnew(false);
  enrolld_ = nullptr;
  replicas_ = nullptr;
  door_ = nullptr;
}

ReplicaTest::ReplicaTest() {
  EnrolldTest::Stop();
  stored_ = *store::OpenSqliteStore({.path = folder_ + "/shared.db", .clock = &clock_});
  for (auto& replica : replicas_) {
    replica = std::make_unique<Replica>(stored_.get(), keyring(), &clock_);
    replica->Start();
  }
}

ReplicaTest::~ReplicaTest() {
  for (auto& replica : replicas_) replica = nullptr;
}

CreateInvitationResponse ReplicaTest::InviteAt(int replica, CreateInvitationRequest request) {
  auto invited = AdminAt(replica)->Call(&InvitationService::Stub::CreateInvitation, request);
  EXPECT_TRUE(invited.ok()) << invited.status();
  return *std::move(invited);
}

Invitation ReplicaTest::GetAt(int replica, const std::string& name) {
  enrol::v1::GetInvitationRequest request;
  request.set_name(name);
  auto invitation = AdminAt(replica)->Call(&InvitationService::Stub::GetInvitation, request);
  EXPECT_TRUE(invitation.ok()) << invitation.status();
  return *std::move(invitation);
}

}  // namespace parley::enrolld
