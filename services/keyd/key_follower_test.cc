// lib/keyclient against a real keyd.
#include "lib/keyd_client/key_follower.h"

#include <grpcpp/server_builder.h>

#include <filesystem>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "lib/audit/audit_chain.h"
#include "lib/base/encoding.h"
#include "lib/base/file.h"
#include "lib/base/mutex.h"
#include "services/keyd/testing/keyd_testing.h"

namespace parley::keyd {
namespace {

using access::v1::ROLE_DEVICE;
using keyd_client::Contact;
using keyd_client::KeyFollower;
using Stub = KeyClient::Stub;

constexpr absl::Duration kLong = absl::Seconds(30);

// A door of "taskd" that follows a real keyd. What it serves is keyd's own API with no method implemented: enough to
// tell an open connection (UNIMPLEMENTED) from a refused one.
class KeyFollowerTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(keyd_.Start().ok()); }
  void TearDown() override {
    if (door_ != nullptr) follower_->Detach();
    door_ = nullptr;
  }

  void Follow() {
    KeyFollower::Options options;
    options.credential_path = keyd_.CredentialPath("taskd");
    options.keyd_address = keyd_address_;
    options.names = {"localhost", "127.0.0.1"};
    options.follow_labels = true;
    options.away_limit = absl::Hours(1);
    options.on_contact = [this](Contact::State state) {
      MutexLock lock(&mutex_);
      contact_ = state;
      changed_.NotifyAll();
    };
    options.clock = &keyd_.clock;
    options.steady = [this] { return keyd_.clock.Now() - absl::UnixEpoch(); };
    auto follower = KeyFollower::Create(std::move(options));
    ASSERT_TRUE(follower.ok()) << follower.status();
    follower_ = *std::move(follower);
    follower_->labels()->Observe([this](const std::string&) {
      MutexLock lock(&mutex_);
      changed_.NotifyAll();
    });
  }
  void Serve() {
    const absl::Status ready = follower_->WaitUntilReady(/*stop_fd=*/-1, kLong);
    ASSERT_TRUE(ready.ok()) << ready;
    KeyFollower::Certificate certificate = follower_->certificate();
    transport::Listener::Options listener;
    listener.address = "127.0.0.1:0";
    listener.certificate_pem = std::move(certificate.certificate_pem);
    listener.private_key_pem = std::move(certificate.private_key_pem);
    listener.clock = &keyd_.clock;
    door_ = *transport::GrpcDoor::Create(std::move(listener), follower_->key_source());
    follower_->Attach(&door_->listener());
    grpc::ServerBuilder builder;
    builder.RegisterService(&service_);
    ASSERT_TRUE(door_->Serve(&builder).ok());
  }
  // A connection to the door under a credential's key for taskd.
  std::unique_ptr<KeyClient> Connect(keys::Credential credential) {
    keys::Credential moved;
    moved.keys.push_back(std::move(const_cast<keys::AudienceKey&>(**credential.KeyFor("taskd"))));
    moved.keys[0].audience = "keyd";
    moved.keys[0].address = door_->listener().address();
    return std::make_unique<KeyClient>(moved, &keyd_.clock);
  }
  static absl::Status Call(KeyClient& client) {
    key::v1::CredentialRecord record;
    return client.Call(&Stub::GetCredential, key::v1::GetCredentialRequest(), &record);
  }
  // Waits until the call's result is this one: what is awaited comes by another thread.
  static void WaitFor(KeyClient& client, absl::StatusCode code) {
    while (Call(client).code() != code) {
    }
  }

  void AwaitContact(Contact::State state) {
    MutexLock lock(&mutex_);
    while (contact_ != state) changed_.Wait(&mutex_);
  }

  void Label(const std::string& device, const std::string& role) {
    key::v1::LabelDeviceRequest request;
    request.set_name("deviceLabels/" + device);
    (*request.mutable_set())["role"] = role;
    key::v1::DeviceLabels labels;
    ASSERT_EQ(keyd_.ConnectAs("admin")->Call(&Stub::LabelDevice, request, &labels), absl::OkStatus());
  }
  std::string RoleOf(const std::string& device) {
    const auto labels = follower_->labels()->Find(device);
    return labels == nullptr || labels->empty() ? "" : labels->at("role");
  }
  void AwaitRole(const std::string& device, const std::string& role) {
    MutexLock lock(&mutex_);
    while (RoleOf(device) != role) changed_.Wait(&mutex_);
  }

  std::string keyd_address_;
  Mutex mutex_;
  CondVar changed_;
  Contact::State contact_ ABSL_GUARDED_BY(mutex_) = Contact::State::kAway;
  TestKeyd keyd_;
  std::unique_ptr<KeyFollower> follower_;
  key::v1::KeyService::Service service_;
  std::unique_ptr<transport::GrpcDoor> door_;
};

TEST_F(KeyFollowerTest, IsReadyWithKeysRevocationsAndACertificate) {
  const auto admin = keyd_.ConnectAs("admin");
  const auto revoked = *admin->Issue(ROLE_DEVICE, "web-1");
  const auto good = *admin->Issue(ROLE_DEVICE, "web-2");
  ASSERT_TRUE(admin->Revoke(revoked.record().name()).ok());
  Follow();
  Serve();
  EXPECT_EQ(follower_->audience(), "taskd");
  EXPECT_EQ(follower_->certificate().ca_pem, good.ca_pem());
  EXPECT_EQ(Call(*Connect(ToCredential(good))).code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(Reason(Call(*Connect(ToCredential(revoked)))), "KEY_REFUSED");
  const keys::Claims claims{access::v1::ROLE_JOINER, "task", std::string(16, 's'), keyd_.clock.Now() + absl::Hours(1)};
  EXPECT_TRUE(follower_->keyring()->Mint(claims).ok());
}

TEST_F(KeyFollowerTest, WithoutKeydNobodyIsAdmittedInTheEnd) {
  const auto issued = *keyd_.ConnectAs("admin")->Issue(ROLE_DEVICE, "web-1");
  Follow();
  Serve();
  AwaitContact(Contact::State::kFollowing);
  const auto before = Connect(ToCredential(issued));
  ASSERT_EQ(Call(*before).code(), absl::StatusCode::kUnimplemented);
  keyd_.Stop();
  AwaitContact(Contact::State::kAway);
  EXPECT_EQ(Call(*Connect(ToCredential(issued))).code(), absl::StatusCode::kUnimplemented);
  keyd_.clock.Advance(absl::Hours(1) + absl::Seconds(1));
  EXPECT_EQ(Reason(follower_->CheckAdmits()), "KEYD_AWAY");
  EXPECT_EQ(Call(*Connect(ToCredential(issued))).code(), absl::StatusCode::kUnavailable) << "no word on the key";
  AwaitContact(Contact::State::kAwayTooLong);
  WaitFor(*before, absl::StatusCode::kUnavailable);
  ASSERT_TRUE(keyd_.Start().ok());
  AwaitContact(Contact::State::kFollowing);
  EXPECT_EQ(Call(*Connect(ToCredential(issued))).code(), absl::StatusCode::kUnimplemented);
}

TEST_F(KeyFollowerTest, ARevocationIsAcknowledgedOnceTheServiceRefusesTheKey) {
  const auto admin = keyd_.ConnectAs("admin");
  Follow();
  Serve();
  for (int i = 0; i < 5; ++i) {
    const auto issued = *admin->Issue(ROLE_DEVICE, "web-1");
    const auto device = Connect(ToCredential(issued));
    ASSERT_EQ(Call(*device).code(), absl::StatusCode::kUnimplemented);
    ASSERT_EQ(admin->Revoke(issued.record().name()), absl::OkStatus());
    EXPECT_EQ(Reason(Call(*device)), "KEY_REFUSED");
  }
}

TEST_F(KeyFollowerTest, ARevocationWaitsForAServiceThatIsSilentUntilItsLeaseEnds) {
  const auto admin = keyd_.ConnectAs("admin");
  const auto issued = *admin->Issue(ROLE_DEVICE, "web-1");
  const auto taskd = keyd_.ConnectAs("taskd");
  key::v1::KeepReplicaRequest request;
  key::v1::KeepReplicaResponse response;
  const auto refused = [&] { return Reason(taskd->Call(&Stub::KeepReplica, request, &response)); };
  EXPECT_EQ(refused(), "REPLICA");
  request.set_replica(crypto::RandomUuid());
  EXPECT_EQ(refused(), "LEASE");
  request.mutable_lease()->set_seconds(24 * 3600 + 1);
  EXPECT_EQ(refused(), "LEASE");
  request.mutable_lease()->set_seconds(60);
  ASSERT_EQ(taskd->Call(&Stub::KeepReplica, request, &response), absl::OkStatus());
  EXPECT_GT(response.revision(), 0);

  Mutex mutex;
  CondVar changed;
  bool revoked = false;
  std::thread revoking([&] {
    EXPECT_EQ(admin->Revoke(issued.record().name()), absl::OkStatus());
    MutexLock lock(&mutex);
    revoked = true;
    changed.NotifyAll();
  });
  key::v1::CredentialRecord record;
  while (!record.has_revoke_time()) {
    key::v1::GetCredentialRequest get;
    get.set_name(issued.record().name());
    ASSERT_EQ(keyd_.ConnectAs("admin")->Call(&Stub::GetCredential, get, &record), absl::OkStatus());
  }
  {
    MutexLock lock(&mutex);
    EXPECT_FALSE(revoked);
  }
  keyd_.clock.Advance(absl::Seconds(70));
  revoking.join();
  EXPECT_TRUE(revoked);
}

TEST_F(KeyFollowerTest, AServiceThatEndsIsNotWaitedFor) {
  const auto admin = keyd_.ConnectAs("admin");
  const auto issued = *admin->Issue(ROLE_DEVICE, "web-1");
  Follow();
  ASSERT_EQ(follower_->WaitUntilReady(/*stop_fd=*/-1, kLong), absl::OkStatus());
  follower_ = nullptr;
  EXPECT_EQ(admin->Revoke(issued.record().name()), absl::OkStatus());
}

TEST_F(KeyFollowerTest, AServiceThatEndsWhileItTakesItsPlaceIsNotWaitedFor) {
  const auto admin = keyd_.ConnectAs("admin");
  for (int i = 0; i < 20; ++i) {
    const auto issued = *admin->Issue(ROLE_DEVICE, "web-1");
    Follow();
    // For the time of so many calls.
    for (int calls = 0; calls < i % 4; ++calls) ASSERT_TRUE(admin->Issue(ROLE_DEVICE, "web-2").ok());
    follower_ = nullptr;
    ASSERT_EQ(admin->Revoke(issued.record().name()), absl::OkStatus());
  }
}

// What keyd wrote for a service in time is taken up, though nothing has refused the former one.
TEST_F(KeyFollowerTest, GoesOnWithTheCredentialThatIsInTheFileWhenItsOwnHasExpired) {
  Follow();
  Serve();
  AwaitContact(Contact::State::kFollowing);
  keyd_.Stop();
  AwaitContact(Contact::State::kAway);
  keyd_.clock.Advance(absl::Hours(24 * 367));
  ASSERT_TRUE(keyd_.Start().ok());
  AwaitContact(Contact::State::kFollowing);
}

TEST_F(KeyFollowerTest, DialsKeydWhereItIsToldAndNotWhereItsCredentialsSay) {
  keyd_.Stop();
  keyd_.options.keyd_address = "127.0.0.1:1";
  ASSERT_TRUE(keyd_.Start().ok());
  keyd_address_ = keyd_.options.listen;
  ASSERT_EQ((*keyd_.CredentialOf("taskd").KeyFor(keys::kKeyd))->address, "127.0.0.1:1");
  Follow();
  Serve();
  AwaitContact(Contact::State::kFollowing);
  keyd_.Stop();
  AwaitContact(Contact::State::kAway);
  // The next credential of the file is dialled in the same way.
  keyd_.clock.Advance(absl::Hours(24 * 367));
  ASSERT_TRUE(keyd_.Start().ok());
  AwaitContact(Contact::State::kFollowing);
}

TEST_F(KeyFollowerTest, ARevocationClosesLiveConnectionsOfTheService) {
  const auto admin = keyd_.ConnectAs("admin");
  const auto issued = *admin->Issue(ROLE_DEVICE, "web-1");
  Follow();
  Serve();
  const auto device = Connect(ToCredential(issued));
  ASSERT_EQ(Call(*device).code(), absl::StatusCode::kUnimplemented);
  ASSERT_TRUE(admin->Revoke(issued.record().name()).ok());
  // The open connection would have gone on answering: only one that had to be made anew is refused.
  WaitFor(*device, absl::StatusCode::kUnauthenticated);
}

TEST_F(KeyFollowerTest, SaysWhyKeydCannotBeReachedAndWaitsForIt) {
  keyd_.Stop();
  Follow();
  absl::Status status;
  // It may not have tried yet.
  do {
    status = follower_->WaitUntilReady(/*stop_fd=*/-1, absl::Milliseconds(100));
  } while (Reason(status) == "KEYD_TIMEOUT");
  EXPECT_EQ(Reason(status), "CONNECTION_REFUSED") << status;
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("keyd at 127.0.0.1:"));
  ASSERT_TRUE(keyd_.Start().ok());
  EXPECT_TRUE(follower_->WaitUntilReady(/*stop_fd=*/-1, kLong).ok());
}

TEST_F(KeyFollowerTest, GoesOnWithoutKeydAndCatchesUpWhenItIsBack) {
  const auto issued = *keyd_.ConnectAs("admin")->Issue(ROLE_DEVICE, "web-1");
  Follow();
  Serve();
  const auto device = Connect(ToCredential(issued));
  ASSERT_EQ(Call(*device).code(), absl::StatusCode::kUnimplemented);
  keyd_.Stop();
  EXPECT_EQ(Call(*device).code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(Call(*Connect(ToCredential(issued))).code(), absl::StatusCode::kUnimplemented);
  ASSERT_TRUE(keyd_.Start().ok());
  ASSERT_TRUE(keyd_.ConnectAs("admin")->Revoke(issued.record().name()).ok());
  WaitFor(*device, absl::StatusCode::kUnauthenticated);
}

TEST_F(KeyFollowerTest, LabelsAreFollowedAndKeptWhileKeydIsAway) {
  const auto admin = keyd_.ConnectAs("admin");
  ASSERT_TRUE(admin->Issue(ROLE_DEVICE, "web-1").ok());
  const auto second = admin->Issue(ROLE_DEVICE, "web-2");
  Label("web-1", "web");
  Label("web-2", "web");
  Follow();
  AwaitRole("web-1", "web");
  EXPECT_EQ(RoleOf("web-2"), "web");
  Label("web-1", "db");
  AwaitRole("web-1", "db");
  AwaitContact(Contact::State::kFollowing);
  keyd_.Stop();
  AwaitContact(Contact::State::kAway);
  EXPECT_EQ(RoleOf("web-1"), "db");
  ASSERT_TRUE(keyd_.Start().ok());
  ASSERT_TRUE(keyd_.ConnectAs("admin")->Revoke(second->record().name()).ok());
  AwaitRole("web-2", "");
  EXPECT_EQ(RoleOf("web-1"), "db");
}

TEST_F(KeyFollowerTest, RetiringARootClosesItsConnectionsAndTheServiceTakesItsNewCredential) {
  const auto admin = keyd_.ConnectAs("admin");
  const auto issued = *admin->Issue(ROLE_DEVICE, "web-1");
  Follow();
  Serve();
  const auto device = Connect(ToCredential(issued));
  ASSERT_EQ(Call(*device).code(), absl::StatusCode::kUnimplemented);
  ASSERT_TRUE(admin->Rotate(0).ok());
  EXPECT_EQ(Call(*device).code(), absl::StatusCode::kUnimplemented);
  const auto bob = keyd_.Connect(ToCredential(*admin->Issue(access::v1::ROLE_ADMIN, "bob")));
  ASSERT_TRUE(admin->Rotate(2).ok());
  WaitFor(*device, absl::StatusCode::kUnauthenticated);
  // The follower's own credential ended with the root; only with a new one can it see what comes now.
  const auto later = *bob->Issue(ROLE_DEVICE, "web-2");
  EXPECT_EQ(later.record().epoch(), 3);
  const auto later_device = Connect(ToCredential(later));
  WaitFor(*later_device, absl::StatusCode::kUnimplemented);
  ASSERT_TRUE(bob->Revoke(later.record().name()).ok());
  WaitFor(*later_device, absl::StatusCode::kUnauthenticated);
}

TEST_F(KeyFollowerTest, RenewsItsCertificateBeforeItEnds) {
  Follow();
  Serve();
  const std::string first = follower_->certificate().certificate_pem;
  keyd_.clock.Advance(absl::Hours(24 * 61));
  while (follower_->certificate().certificate_pem == first) {
  }
}

TEST_F(KeyFollowerTest, ItsAuditEventsReachKeydInOrderAndBeforeItGoes) {
  Follow();
  ASSERT_TRUE(follower_->WaitUntilReady(/*stop_fd=*/-1, kLong).ok());
  int recorded = 0;
  const auto record = [&](int count) {
    for (int i = 0; i < count; ++i) {
      key::v1::AuditEvent event;
      event.set_action("join_key.revoked");
      event.set_resource(absl::StrCat("joinKeys/", recorded++));
      follower_->audit_log()->Record(std::move(event));
    }
  };
  const auto admin = keyd_.ConnectAs("admin");
  audit::AuditVerifier verifier;
  int next = 0;
  const auto read_on = [&] {
    key::v1::ListAuditEventsRequest request;
    request.set_after_sequence(verifier.mark().sequence);
    request.set_page_size(1000);
    key::v1::ListAuditEventsResponse page;
    ASSERT_TRUE(admin->Call(&Stub::ListAuditEvents, request, &page).ok());
    for (const key::v1::AuditEntry& entry : page.entries()) {
      ASSERT_TRUE(verifier.Add(entry).ok());
      key::v1::AuditEvent event;
      event.ParseFromString(entry.event_bytes());
      if (event.action() != "join_key.revoked") continue;
      EXPECT_EQ(event.service(), "taskd");
      EXPECT_EQ(event.resource(), absl::StrCat("joinKeys/", next++));
    }
  };
  // More than one batch.
  record(1500);
  while (next < recorded && !HasFatalFailure()) read_on();
  record(3);
  follower_ = nullptr;
  read_on();
  EXPECT_EQ(next, recorded);
}

TEST_F(KeyFollowerTest, RefusesACredentialThatIsNotAServices) {
  KeyFollower::Options options;
  options.credential_path = keyd_.CredentialPath("admin");
  EXPECT_EQ(Reason(KeyFollower::Create(options).status()), "CREDENTIAL_ROLE");
  options.credential_path = keyd_.CredentialPath("nobody");
  EXPECT_EQ(Reason(KeyFollower::Create(options).status()), "FILE_NOT_FOUND");
  options.credential_path = keyd_.CredentialPath("taskd");
  options.keyd_address = ":7444";
  EXPECT_EQ(Reason(KeyFollower::Create(options).status()), "ADDRESS_INVALID");
}

}  // namespace
}  // namespace parley::keyd
