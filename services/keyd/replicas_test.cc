// Two keyds on one store: what one does holds at the other, and no later than it is acknowledged.
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "lib/audit/audit_chain.h"
#include "lib/base/file.h"
#include "lib/store/shared_store_testing.h"
#include "lib/store/sqlite_store.h"
#include "services/keyd/testing/trust_testing.h"

namespace parley::keyd {
namespace {

using access::v1::ROLE_ADMIN;
using access::v1::ROLE_DEVICE;
using access::v1::ROLE_OPERATOR;
using Stub = KeyClient::Stub;
using trust::TestMember;

class ReplicasTest : public testing::Test {
 protected:
  ReplicasTest() : store_(*store::OpenSqliteStore({.path = folder_.path() + "/shared.db"})) {
    EXPECT_TRUE(WriteSecretFile(folder_.path() + "/kek", Secret::CopyOf(std::string(64, 'a'))).ok());
    for (TestKeyd* const keyd : {&one_, &two_}) keyd->options.kek_file = folder_.path() + "/kek";
    one_.shared_store = std::make_shared<store::SharedStore>(store_.get());
    two_.shared_store = cut_;
  }
  void StartBoth() {
    ASSERT_EQ(one_.Start(), absl::OkStatus());
    ASSERT_EQ(two_.Start(), absl::OkStatus());
    admin_ = one_.CredentialOf("admin");
    admin_at_one_ = one_.ConnectHere(admin_);
    admin_at_two_ = two_.ConnectHere(admin_);
  }
  // The error of connecting with a credential, and of a call that its role may make.
  static absl::Status Try(TestKeyd* keyd, const keys::Credential& credential) {
    const auto client = keyd->ConnectHere(credential);
    key::v1::ListCredentialsResponse credentials;
    return client->Call(&Stub::ListCredentials, key::v1::ListCredentialsRequest(), &credentials);
  }
  std::vector<key::v1::AuditEvent> Log(KeyClient& admin) {
    audit::AuditVerifier verifier;
    std::vector<key::v1::AuditEvent> events;
    key::v1::ListAuditEventsRequest request;
    request.set_page_size(1000);
    key::v1::ListAuditEventsResponse page;
    EXPECT_EQ(admin.Call(&Stub::ListAuditEvents, request, &page), absl::OkStatus());
    for (const key::v1::AuditEntry& entry : page.entries()) {
      EXPECT_EQ(verifier.Add(entry), absl::OkStatus());
      events.emplace_back().ParseFromString(entry.event_bytes());
    }
    EXPECT_EQ(verifier.Finish(page.last_sequence()), absl::OkStatus());
    return events;
  }
  static int CountOf(const std::vector<key::v1::AuditEvent>& events, const std::string& action) {
    return static_cast<int>(
        std::count_if(events.begin(), events.end(), [&action](const auto& event) { return event.action() == action; }));
  }

  TestFolder folder_;
  const std::unique_ptr<store::Store> store_;
  const std::shared_ptr<store::SharedStore> cut_ = std::make_shared<store::SharedStore>(store_.get());
  TestKeyd one_, two_;
  keys::Credential admin_;
  std::unique_ptr<KeyClient> admin_at_one_, admin_at_two_;
};

TEST_F(ReplicasTest, ARevocationHoldsAtBothWhenItIsAcknowledged) {
  StartBoth();
  for (int i = 0; i < 10; ++i) {
    const auto issued = *admin_at_one_->Issue(ROLE_ADMIN, "bob");
    const keys::Credential bob = ToCredential(issued);
    const auto bob_at_two = two_.ConnectHere(bob);
    ASSERT_EQ(Try(&two_, bob), absl::OkStatus()) << "what one issues opens the other's door";
    ASSERT_TRUE(bob_at_two->Issue(ROLE_DEVICE, "web-1").ok());
    ASSERT_EQ(admin_at_one_->Revoke(issued.record().name()), absl::OkStatus());
    EXPECT_EQ(Reason(Try(&two_, bob)), "KEY_REFUSED");
    EXPECT_FALSE(bob_at_two->Issue(ROLE_DEVICE, "web-2").ok()) << "the connection that was open is closed";
  }
}

TEST_F(ReplicasTest, WhoRevokesItselfGetsTheAnswer) {
  StartBoth();
  const auto issued = *admin_at_one_->Issue(ROLE_ADMIN, "bob");
  const keys::Credential bob = ToCredential(issued);
  EXPECT_EQ(two_.ConnectHere(bob)->Revoke(issued.record().name()), absl::OkStatus());
  EXPECT_EQ(Reason(Try(&one_, bob)), "KEY_REFUSED");
  EXPECT_EQ(Reason(Try(&two_, bob)), "KEY_REFUSED");
}

TEST_F(ReplicasTest, ARotationElsewhereIsFollowed) {
  StartBoth();
  const std::string old_taskd = two_.CredentialOf("taskd").serial;
  const auto taskd = two_.ConnectHere(two_.CredentialOf("taskd"));
  grpc::ClientContext context;
  const auto stream = taskd->stub()->WatchAudienceKeys(&context, key::v1::WatchAudienceKeysRequest());
  key::v1::AudienceKeys message;
  ASSERT_TRUE(stream->Read(&message));
  EXPECT_EQ(*admin_at_one_->Rotate(0), 2);
  ASSERT_TRUE(stream->Read(&message));
  EXPECT_EQ(message.primary_epoch(), 2);
  const auto issued = *admin_at_two_->Issue(ROLE_ADMIN, "bob");
  EXPECT_EQ(issued.record().epoch(), 2);
  EXPECT_EQ(Try(&one_, ToCredential(issued)), absl::OkStatus());
  EXPECT_EQ(*admin_at_two_->Rotate(0), 3);
  const auto later = *admin_at_one_->Issue(ROLE_ADMIN, "carol");
  EXPECT_EQ(later.record().epoch(), 3);
  EXPECT_EQ(Try(&two_, ToCredential(later)), absl::OkStatus());
  EXPECT_NE(two_.CredentialOf("taskd").serial, old_taskd) << "both hosts have new ones for the services";
  context.TryCancel();
  stream->Finish();
}

TEST_F(ReplicasTest, ARequestThatComesToBothIsAnsweredOnce) {
  StartBoth();
  for (int i = 0; i < 10; ++i) {
    const std::string id = crypto::RandomUuid();
    std::string serials[2];
    std::thread other([&] { serials[1] = admin_at_two_->Issue(ROLE_DEVICE, "web-1", id)->record().name(); });
    serials[0] = admin_at_one_->Issue(ROLE_DEVICE, "web-1", id)->record().name();
    other.join();
    EXPECT_EQ(serials[0], serials[1]);
  }
  EXPECT_EQ(CountOf(Log(*admin_at_one_), "credential.issued"), 4 + 2 + 10) << "and those of two hosts";
}

TEST_F(ReplicasTest, BothWriteOneLog) {
  StartBoth();
  const auto write = [](KeyClient* client) {
    for (int i = 0; i < 50; ++i) EXPECT_TRUE(client->Issue(ROLE_OPERATOR, "alice").ok());
  };
  std::vector<std::thread> writers;
  for (int i = 0; i < 3; ++i) {
    writers.emplace_back(write, admin_at_one_.get());
    writers.emplace_back(write, admin_at_two_.get());
  }
  for (std::thread& writer : writers) writer.join();
  const auto events = Log(*admin_at_one_);
  EXPECT_EQ(CountOf(events, "credential.issued"), 4 + 2 + 300);
  EXPECT_EQ(Log(*admin_at_two_).size(), events.size());
}

TEST_F(ReplicasTest, FoundedByTwoAtOnceThereIsOneOrganisation) {
  std::thread other([this] { EXPECT_EQ(two_.Start(), absl::OkStatus()); });
  EXPECT_EQ(one_.Start(), absl::OkStatus());
  other.join();
  // Both have the same, unless the founding was over when the second one came to it.
  int found = 0;
  for (TestKeyd* const keyd : {&one_, &two_}) {
    const auto admin = keys::ReadCredentialFile(keyd->CredentialPath("admin"));
    if (!admin.ok()) continue;
    ++found;
    EXPECT_EQ(Try(&one_, *admin), absl::OkStatus());
    EXPECT_EQ(Try(&two_, *admin), absl::OkStatus());
    EXPECT_EQ(CountOf(Log(*one_.ConnectHere(*admin)), "organisation.created"), 1);
  }
  EXPECT_GT(found, 0);
}

// The address of the store may be wrong, or its data lost.
TEST_F(ReplicasTest, CredentialsOfAnotherOrganisationFoundNone) {
  ASSERT_EQ(one_.Start(), absl::OkStatus());
  one_.Stop();
  const auto empty = *store::OpenSqliteStore({.path = folder_.path() + "/empty.db"});
  one_.shared_store = std::make_shared<store::SharedStore>(empty.get());
  const int64_t before = *empty->Revision();
  EXPECT_EQ(Reason(one_.Start()), "DATABASE_MISSING");
  EXPECT_EQ(*empty->Revision(), before) << "nothing is written";
  one_.shared_store = std::make_shared<store::SharedStore>(store_.get());
  EXPECT_EQ(one_.Start(), absl::OkStatus());
}

TEST_F(ReplicasTest, AnotherKeyEncryptionKeyIsRefused) {
  ASSERT_EQ(one_.Start(), absl::OkStatus());
  two_.options.kek_file = folder_.path() + "/other";
  ASSERT_TRUE(WriteSecretFile(two_.options.kek_file, Secret::CopyOf(std::string(64, 'b'))).ok());
  EXPECT_EQ(Reason(two_.Start()), "KEK_WRONG");
  two_.options.kek_file = "";
  EXPECT_EQ(Reason(two_.Start()), "KEK_MISSING");
}

TEST_F(ReplicasTest, WhoIsCutOffAdmitsNobodyOnceARevocationIsAcknowledged) {
  two_.lease = absl::Seconds(1);
  StartBoth();
  const auto issued = *admin_at_one_->Issue(ROLE_ADMIN, "bob");
  const keys::Credential bob = ToCredential(issued);
  ASSERT_EQ(Try(&two_, bob), absl::OkStatus());
  const auto bob_at_two = two_.ConnectHere(bob);
  ASSERT_TRUE(bob_at_two->Issue(ROLE_DEVICE, "web-1").ok());
  cut_->CutOff(true);
  EXPECT_EQ(admin_at_one_->Revoke(issued.record().name()), absl::OkStatus());
  EXPECT_EQ(Try(&two_, bob).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Try(&two_, admin_).code(), absl::StatusCode::kUnavailable) << "it does not know whom else";
  while (two_.admits) EXPECT_EQ(Try(&two_, admin_).code(), absl::StatusCode::kUnavailable);
  cut_->CutOff(false);
  absl::Status again;
  do {
    again = Try(&two_, admin_);
  } while (absl::IsUnavailable(again));
  EXPECT_EQ(again, absl::OkStatus());
  EXPECT_EQ(Reason(Try(&two_, bob)), "KEY_REFUSED");
  while (!two_.admits) EXPECT_EQ(Try(&two_, admin_), absl::OkStatus());
}

TEST_F(ReplicasTest, ADeviceRevokedAtOneIsNotRenewedAtTheOther) {
  StartBoth();
  const absl::Time now = one_.clock.Now();
  const TestMember alice("alice", ROLE_ADMIN), bob("bob", ROLE_OPERATOR);
  const trust::Founding founding = trust::Founding::Make(alice.user, alice.device, now);
  const auto founded = Found(*admin_at_one_, founding);
  ASSERT_EQ(founded.status(), absl::OkStatus());
  const keys::Credential alice_credential = ToCredential(founded->credential());
  const auto alice_at_one = one_.ConnectHere(alice_credential), alice_at_two = two_.ConnectHere(alice_credential);
  auto chain = *ReadChain(*alice_at_two, founding.root_verification_key, now);
  const auto enrolled = Enrol(*alice_at_two, bob.EnrolledBy(alice, chain, now));
  ASSERT_EQ(enrolled.status(), absl::OkStatus());
  const keys::Credential bobs = ToCredential(enrolled->credential());
  const auto bob_at_two = two_.ConnectHere(bobs);
  const auto renew = [&](KeyClient& client) {
    trust::v1::RenewCredentialRequest request;
    request.set_request_id(crypto::RandomUuid());
    trust::v1::RenewCredentialResponse response;
    return client.CallTrust(&KeyClient::TrustStub::RenewCredential, request, &response);
  };
  ASSERT_EQ(renew(*bob_at_two), absl::OkStatus());

  // While it is renewed again and again at the other.
  std::atomic<bool> stop = false;
  std::thread renewing([&] {
    while (!stop && renew(*bob_at_two).ok()) {
    }
  });
  chain = *ReadChain(*alice_at_one, founding.root_verification_key, now);
  const auto appended = Append(*alice_at_one, {alice.Maker(chain, now).RevokeDevice(bob.device.id)});
  EXPECT_EQ(appended.status(), absl::OkStatus());
  stop = true;
  renewing.join();
  EXPECT_NE(renew(*bob_at_two), absl::OkStatus());
  key::v1::ListCredentialsRequest request;
  request.set_page_size(1000);
  key::v1::ListCredentialsResponse credentials;
  ASSERT_EQ(alice_at_one->Call(&Stub::ListCredentials, request, &credentials), absl::OkStatus());
  for (const key::v1::CredentialRecord& record : credentials.credentials()) {
    if (record.subject() != "bob") continue;
    EXPECT_TRUE(record.has_revoke_time()) << record.name();
  }
}

TEST_F(ReplicasTest, TheChainGrowsAtBothWithoutABranch) {
  StartBoth();
  const absl::Time now = one_.clock.Now();
  const TestMember alice("alice", ROLE_ADMIN);
  const trust::Founding founding = trust::Founding::Make(alice.user, alice.device, now);
  const keys::Credential credential = ToCredential(Found(*admin_at_two_, founding)->credential());
  const auto enrol = [&](TestKeyd* keyd, const std::string& name) {
    const auto client = keyd->ConnectHere(credential);
    for (int i = 0; i < 5;) {
      const auto chain = ReadChain(*client, founding.root_verification_key, now);
      ASSERT_EQ(chain.status(), absl::OkStatus());
      const auto enrolled =
          Enrol(*client, TestMember(absl::StrCat(name, "-", i), ROLE_OPERATOR).EnrolledBy(alice, *chain, now));
      i += enrolled.ok();
      ASSERT_TRUE(enrolled.ok() || Reason(enrolled.status()) == "CHAIN_MOVED") << enrolled.status();
    }
  };
  std::thread other([&] { enrol(&two_, "two"); });
  enrol(&one_, "one");
  other.join();
  const auto chain = ReadChain(*one_.ConnectHere(credential), founding.root_verification_key, now);
  ASSERT_EQ(chain.status(), absl::OkStatus());
  EXPECT_EQ(chain->Users().size(), 11);
}

}  // namespace
}  // namespace parley::keyd
