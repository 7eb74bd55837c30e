// TrustService of a real keyd: the founding, enrolments, revocations, and what nobody gets through.
#include <chrono>
#include <map>
#include <set>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "services/keyd/testing/trust_testing.h"

namespace parley::keyd {
namespace {

using access::v1::ROLE_ADMIN;
using access::v1::ROLE_AUDITOR;
using access::v1::ROLE_DEVICE;
using access::v1::ROLE_OPERATOR;
using trust::TestMember;
using trust::v1::SignedCertificate;
using TrustStub = KeyClient::TrustStub;

class TrustTest : public testing::Test {
 protected:
  TrustTest()
      : alice_("alice", ROLE_ADMIN), founding_(trust::Founding::Make(alice_.user, alice_.device, keyd_.clock.Now())) {}

  void SetUp() override {
    ASSERT_EQ(keyd_.Start(), absl::OkStatus());
    const auto founded = Found(*keyd_.ConnectAs("admin"), founding_);
    ASSERT_EQ(founded.status(), absl::OkStatus());
    EXPECT_EQ(founded->organisation(), "parley");
    alice_client_ = keyd_.Connect(ToCredential(founded->credential()));
  }

  trust::Chain ChainNow() {
    auto chain = ReadChain(*alice_client_, founding_.root_verification_key, keyd_.clock.Now());
    EXPECT_EQ(chain.status(), absl::OkStatus());
    return *std::move(chain);
  }
  trust::CertificateMaker By(const TestMember& author) { return author.Maker(ChainNow(), keyd_.clock.Now()); }
  Certificates EnrolledBy(const TestMember& member, const TestMember& author) {
    return member.EnrolledBy(author, ChainNow(), keyd_.clock.Now());
  }
  // Enrols and connects.
  std::unique_ptr<KeyClient> Join(const TestMember& member) {
    const auto enrolled = Enrol(*alice_client_, EnrolledBy(member, alice_));
    EXPECT_EQ(enrolled.status(), absl::OkStatus());
    return keyd_.Connect(ToCredential(enrolled->credential()));
  }
  absl::Status Lists(KeyClient& client) {
    trust::v1::ListCertificatesResponse page;
    return client.CallTrust(&TrustStub::ListCertificates, trust::v1::ListCertificatesRequest(), &page);
  }
  // Why the client is refused, once it is: revocations have a second to reach what is connected.
  std::string RefusalWithinASecond(KeyClient& client) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(1);
    std::string reason;
    while (reason.empty() && std::chrono::steady_clock::now() < end) reason = Reason(Lists(client));
    return reason;
  }
  // Outcomes by action.
  std::multimap<std::string, std::string> Log() {
    keyd_.Stop();  // Which writes what waits for the log.
    EXPECT_EQ(keyd_.Start(), absl::OkStatus());
    key::v1::ListAuditEventsRequest request;
    request.set_page_size(1000);
    key::v1::ListAuditEventsResponse page;
    EXPECT_EQ(keyd_.ConnectAs("admin")->Call(&KeyClient::Stub::ListAuditEvents, request, &page), absl::OkStatus());
    std::multimap<std::string, std::string> outcomes;
    for (const key::v1::AuditEntry& entry : page.entries()) {
      key::v1::AuditEvent event;
      event.ParseFromString(entry.event_bytes());
      outcomes.emplace(event.action(), event.outcome());
    }
    return outcomes;
  }

  TestKeyd keyd_;
  TestMember alice_;
  trust::Founding founding_;
  std::unique_ptr<KeyClient> alice_client_;
};

TEST_F(TrustTest, IsFoundedOnce) {
  const auto admin = keyd_.ConnectAs("admin");
  const auto again = Found(*admin, founding_);
  ASSERT_EQ(again.status(), absl::OkStatus());
  EXPECT_EQ(again->credential().record().subject(), "alice");
  EXPECT_EQ(again->credential().record().role(), ROLE_ADMIN);
  EXPECT_EQ(again->credential().record().device(), trust::DeviceName(alice_.device.id));
  const TestMember eve("eve", ROLE_ADMIN);
  const auto other = trust::Founding::Make(eve.user, eve.device, keyd_.clock.Now());
  EXPECT_EQ(Reason(Found(*admin, other).status()), "CHAIN_FOUNDED");
  Join(TestMember("bob"));
  EXPECT_EQ(Reason(Found(*admin, founding_).status()), "CHAIN_FOUNDED");
  EXPECT_EQ(Reason(Found(*keyd_.ConnectAs("operator"), other).status()), "ROLE_NOT_ALLOWED");
}

TEST(TrustFounding, TakesAGoodOneOnly) {
  TestKeyd keyd;
  ASSERT_EQ(keyd.Start(), absl::OkStatus());
  const auto admin = keyd.ConnectAs("admin");
  const TestMember alice("alice", ROLE_ADMIN), bob("bob", ROLE_OPERATOR);
  EXPECT_EQ(
      Reason(Enrol(*admin, trust::Founding::Make(alice.user, alice.device, keyd.clock.Now()).certificates).status()),
      "CHAIN_NOT_CALLER");
  trust::Founding founding = trust::Founding::Make(bob.user, bob.device, keyd.clock.Now());
  EXPECT_EQ(Reason(Found(*admin, founding).status()), "CHAIN_ROLE");
  founding = trust::Founding::Make(alice.user, alice.device, keyd.clock.Now());
  founding.certificates.pop_back();
  EXPECT_EQ(Reason(Found(*admin, founding).status()), "CERTIFICATES");
  founding = trust::Founding::Make(alice.user, alice.device, keyd.clock.Now());
  founding.root_verification_key = crypto::SigningKey::Generate().verification_key();
  EXPECT_EQ(Reason(Found(*admin, founding).status()), "CHAIN_SIGNATURE");
  founding = trust::Founding::Make(alice.user, alice.device, keyd.clock.Now() + absl::Hours(1));
  EXPECT_EQ(Reason(Found(*admin, founding).status()), "CHAIN_TIME");
  EXPECT_EQ(Reason(Found(*admin, founding, "no uuid").status()), "REQUEST_ID");
  founding = trust::Founding::Make(alice.user, alice.device, keyd.clock.Now());
  EXPECT_EQ(Found(*admin, founding).status(), absl::OkStatus());
}

TEST_F(TrustTest, ANewUserGetsACredentialOfItsRole) {
  const TestMember bob("bob", ROLE_OPERATOR), web("web-1", ROLE_DEVICE);
  const auto enrolled = Enrol(*alice_client_, EnrolledBy(bob, alice_));
  ASSERT_EQ(enrolled.status(), absl::OkStatus());
  EXPECT_EQ(enrolled->sequence(), 4);
  const key::v1::CredentialRecord& record = enrolled->credential().record();
  EXPECT_EQ(record.role(), ROLE_OPERATOR);
  EXPECT_EQ(record.subject(), "bob");
  EXPECT_EQ(record.issuer(), "alice");
  EXPECT_EQ(record.device(), trust::DeviceName(bob.device.id));
  const keys::Credential credential = ToCredential(Enrol(*alice_client_, EnrolledBy(web, alice_))->credential());
  EXPECT_EQ(credential.role, ROLE_DEVICE);
  EXPECT_TRUE(credential.KeyFor(keys::kTaskd).ok());
  EXPECT_EQ(Lists(*keyd_.Connect(credential)), absl::OkStatus());
  keyd_.Stop();
  ASSERT_EQ(keyd_.Start(), absl::OkStatus());
  EXPECT_EQ(ChainNow().head().sequence, 6);
  EXPECT_EQ(Lists(*keyd_.Connect(ToCredential(enrolled->credential()))), absl::OkStatus());
}

TEST_F(TrustTest, AUserAddsAnotherDeviceOfTheirOwn) {
  const TestMember bob("bob", ROLE_AUDITOR), phone = TestMember::DeviceOf(bob, "phone");
  const auto bobs = Join(bob);
  const auto enrolled = Enrol(*bobs, EnrolledBy(phone, bob));
  ASSERT_EQ(enrolled.status(), absl::OkStatus());
  EXPECT_EQ(enrolled->credential().record().role(), ROLE_AUDITOR);
  EXPECT_EQ(enrolled->credential().record().subject(), "bob");
  EXPECT_EQ(ChainNow().DevicesOf(bob.user.id).size(), 2u);
}

TEST_F(TrustTest, RepeatingAnEnrolmentGetsTheSameCredential) {
  const TestMember bob("bob"), ann("ann");
  const Certificates certificates = EnrolledBy(bob, alice_);
  const std::string id = crypto::RandomUuid();
  const auto first = Enrol(*alice_client_, certificates, id);
  ASSERT_EQ(first.status(), absl::OkStatus());
  EXPECT_EQ(Enrol(*alice_client_, certificates, id)->SerializeAsString(), first->SerializeAsString());
  EXPECT_EQ(Reason(Enrol(*alice_client_, EnrolledBy(ann, alice_), id).status()), "REQUEST_ID_REUSED");
  EXPECT_EQ(ChainNow().FindUserByName("ann"), nullptr);
  // Long after, by somebody who has lost the request's id.
  keyd_.clock.Advance(absl::Hours(48));
  EXPECT_EQ(Enrol(*alice_client_, certificates)->SerializeAsString(), first->SerializeAsString());
  EXPECT_EQ(ChainNow().head().sequence, 4);
  ASSERT_EQ(Append(*alice_client_, {By(alice_).RevokeUser(bob.user.id)}).status(), absl::OkStatus());
  EXPECT_EQ(Reason(Enrol(*alice_client_, certificates).status()), "CHAIN_REVOKED");
}

TEST_F(TrustTest, NobodyAppendsWhatAnotherSigned) {
  const TestMember bob("bob", ROLE_ADMIN), eve("eve");
  const auto bobs = Join(bob);
  const Certificates signed_by_alice = EnrolledBy(eve, alice_);
  EXPECT_EQ(Reason(Enrol(*bobs, signed_by_alice).status()), "CHAIN_NOT_CALLER");
  EXPECT_EQ(Reason(Append(*bobs, {By(alice_).RevokeUser(bob.user.id)}).status()), "CHAIN_NOT_CALLER");
  // A credential that was made by hand is of no device.
  EXPECT_EQ(Reason(Enrol(*keyd_.ConnectAs("admin"), signed_by_alice).status()), "CHAIN_NOT_CALLER");
  EXPECT_EQ(ChainNow().head().sequence, 4);
  const auto log = Log();
  EXPECT_EQ(log.count("certificate.refused"), 3u);
  EXPECT_EQ(log.find("certificate.refused")->second, "CHAIN_NOT_CALLER");
}

TEST_F(TrustTest, RefusesWhatBreaksARuleAndSaysWhichInTheLog) {
  const TestMember bob("bob"), eve("eve", ROLE_ADMIN);
  const auto bobs = Join(bob);
  EXPECT_EQ(Reason(Enrol(*bobs, EnrolledBy(eve, bob)).status()), "CHAIN_ROLE");
  EXPECT_EQ(Reason(Append(*bobs, {By(bob).ChangeRole(bob.user.id, ROLE_ADMIN)}).status()), "CHAIN_ROLE");
  EXPECT_EQ(Reason(Append(*bobs, {By(bob).RevokeUser(alice_.user.id)}).status()), "CHAIN_ROLE");
  EXPECT_EQ(Reason(Append(*alice_client_, {By(alice_).RevokeUser(alice_.user.id)}).status()), "CHAIN_LAST_ADMIN");
  trust::CertificateMaker maker = By(alice_);
  EXPECT_EQ(Reason(Enrol(*alice_client_, {maker.AddUser(eve.user)}).status()), "CERTIFICATES");
  EXPECT_EQ(Reason(Append(*alice_client_, {maker.AddDevice(eve.user.id, eve.device)}).status()), "CERTIFICATES");
  EXPECT_EQ(Reason(Append(*alice_client_, {}).status()), "CERTIFICATES");
  SignedCertificate spoilt = By(alice_).RevokeUser(bob.user.id);
  spoilt.mutable_certificate_bytes()->push_back('x');
  EXPECT_EQ(Reason(Append(*alice_client_, {spoilt}).status()), "CHAIN_MALFORMED");
  EXPECT_EQ(ChainNow().head().sequence, 4);
  EXPECT_EQ(Log().count("certificate.refused"), 5u);
}

TEST_F(TrustTest, ABadRequestLeavesTheChainAsItWas) {
  const TestMember bob("bob");
  trust::v1::EnrolRequest request;
  request.set_request_id("no uuid");
  const Certificates certificates = EnrolledBy(bob, alice_);
  *request.mutable_certificates() = {certificates.begin(), certificates.end()};
  trust::v1::EnrolResponse response;
  EXPECT_EQ(Reason(alice_client_->CallTrust(&TrustStub::Enrol, request, &response)), "REQUEST_ID");
  request.set_request_id(crypto::RandomUuid());
  request.mutable_ttl()->set_seconds(367 * 24 * 3600);
  EXPECT_EQ(Reason(alice_client_->CallTrust(&TrustStub::Enrol, request, &response)), "TTL");
  request.mutable_ttl()->set_seconds(60);
  EXPECT_EQ(alice_client_->CallTrust(&TrustStub::Enrol, request, &response), absl::OkStatus());
}

TEST_F(TrustTest, TheSlowerOfTwoIsTold) {
  const TestMember bob("bob"), ann("ann");
  const Certificates first = EnrolledBy(bob, alice_), second = EnrolledBy(ann, alice_);
  ASSERT_EQ(Enrol(*alice_client_, first).status(), absl::OkStatus());
  const absl::Status moved = Enrol(*alice_client_, second).status();
  EXPECT_EQ(Reason(moved), "CHAIN_MOVED");
  EXPECT_TRUE(absl::IsAborted(moved));
}

TEST_F(TrustTest, ManyAdminsAtOnceEnrolEachUserOnce) {
  constexpr int kAdmins = 4, kUsers = 6;
  std::vector<std::unique_ptr<TestMember>> admins;
  std::vector<std::unique_ptr<KeyClient>> clients;
  for (int i = 0; i < kAdmins; ++i) {
    admins.push_back(std::make_unique<TestMember>(absl::StrCat("admin-", i), ROLE_ADMIN));
    clients.push_back(Join(*admins.back()));
  }
  std::vector<std::thread> threads;
  for (int i = 0; i < kAdmins; ++i) {
    threads.emplace_back([&, i] {
      for (int n = 0; n < kUsers; ++n) {
        const TestMember user(absl::StrCat("user-", i, "-", n));
        absl::Status status = absl::AbortedError("");
        while (absl::IsAborted(status)) {
          const auto chain = ReadChain(*clients[i], founding_.root_verification_key, keyd_.clock.Now());
          ASSERT_EQ(chain.status(), absl::OkStatus());
          status = Enrol(*clients[i], user.EnrolledBy(*admins[i], *chain, keyd_.clock.Now())).status();
        }
        EXPECT_EQ(status, absl::OkStatus());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<std::string> names;
  const trust::Chain chain = ChainNow();
  for (const trust::User* const user : chain.Users()) EXPECT_TRUE(names.insert(user->name).second);
  EXPECT_EQ(names.size(), 1u + kAdmins + kAdmins * kUsers);
}

TEST_F(TrustTest, RevokingAUserEndsItsCredentialsAndConnections) {
  const TestMember bob("bob"), phone = TestMember::DeviceOf(bob, "phone"), ann("ann");
  const auto bobs = Join(bob), anns = Join(ann);
  const auto phones = keyd_.Connect(ToCredential(Enrol(*bobs, EnrolledBy(phone, bob))->credential()));
  grpc::ClientContext context;
  const auto stream = phones->trust_stub()->WatchCertificates(&context, trust::v1::WatchCertificatesRequest());
  trust::v1::WatchCertificatesResponse message;
  ASSERT_TRUE(stream->Read(&message));
  const auto began = std::chrono::steady_clock::now();
  const auto revoked = Append(*alice_client_, {By(alice_).RevokeUser(bob.user.id)});
  ASSERT_EQ(revoked.status(), absl::OkStatus());
  EXPECT_EQ(revoked->revoked_credentials(), 2);
  while (stream->Read(&message)) {
  }
  EXPECT_FALSE(stream->Finish().ok());
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(1));
  EXPECT_EQ(RefusalWithinASecond(*bobs), "KEY_REFUSED");
  EXPECT_EQ(RefusalWithinASecond(*phones), "KEY_REFUSED");
  EXPECT_EQ(Lists(*anns), absl::OkStatus());
  // The services hear of it, too.
  const auto taskd = keyd_.ConnectAs("taskd");
  grpc::ClientContext revocations_context;
  const auto revocations = taskd->stub()->WatchRevocations(&revocations_context, key::v1::WatchRevocationsRequest());
  key::v1::Revocations backlog;
  ASSERT_TRUE(revocations->Read(&backlog));
  EXPECT_EQ(backlog.revocations_size(), 2);
  revocations_context.TryCancel();
  revocations->Finish();
  const auto log = Log();
  EXPECT_EQ(log.count("user.revoked"), 1u);
  EXPECT_EQ(log.count("credential.revoked"), 2u);
}

TEST_F(TrustTest, WhoRevokesTheirOwnDeviceGetsTheAnswer) {
  const TestMember bob("bob");
  const auto bobs = Join(bob);
  const Certificates revocation = {By(bob).RevokeDevice(bob.device.id)};
  const auto revoked = Append(*bobs, revocation);
  ASSERT_EQ(revoked.status(), absl::OkStatus());
  EXPECT_EQ(revoked->revoked_credentials(), 1);
  absl::Status status;
  while (status.ok()) status = Lists(*bobs);
  EXPECT_FALSE(ChainNow().IsLive(bob.device.id));
}

TEST_F(TrustTest, AppendingTheSameAgainAnswersTheSame) {
  const TestMember bob("bob");
  Join(bob);
  const Certificates revocation = {By(alice_).RevokeUser(bob.user.id)};
  const auto first = Append(*alice_client_, revocation);
  ASSERT_EQ(first.status(), absl::OkStatus());
  EXPECT_EQ(Append(*alice_client_, revocation)->sequence(), first->sequence());
  EXPECT_EQ(ChainNow().head().sequence, first->sequence());
}

TEST_F(TrustTest, ALowerRoleEndsTheCredentialsOfTheHigherOne) {
  const TestMember bob("bob", ROLE_OPERATOR);
  const auto bobs = Join(bob);
  // A higher one leaves them, and they can be renewed.
  ASSERT_EQ(Append(*alice_client_, {By(alice_).ChangeRole(bob.user.id, ROLE_ADMIN)})->revoked_credentials(), 0);
  trust::v1::RenewCredentialRequest renew;
  renew.set_request_id(crypto::RandomUuid());
  trust::v1::RenewCredentialResponse renewed, again;
  ASSERT_EQ(bobs->CallTrust(&TrustStub::RenewCredential, renew, &renewed), absl::OkStatus());
  EXPECT_EQ(renewed.credential().record().role(), ROLE_ADMIN);
  ASSERT_EQ(bobs->CallTrust(&TrustStub::RenewCredential, renew, &again), absl::OkStatus());
  EXPECT_EQ(again.SerializeAsString(), renewed.SerializeAsString());
  const auto as_admin = keyd_.Connect(ToCredential(renewed.credential()));
  ASSERT_EQ(Lists(*as_admin), absl::OkStatus());
  EXPECT_EQ(Append(*alice_client_, {By(alice_).ChangeRole(bob.user.id, ROLE_AUDITOR)})->revoked_credentials(), 2);
  EXPECT_EQ(RefusalWithinASecond(*as_admin), "KEY_REFUSED");
  // An admin makes one of the lower role, for this device and no other role.
  key::v1::IssueCredentialRequest issue;
  issue.set_request_id(crypto::RandomUuid());
  issue.set_role(ROLE_OPERATOR);
  issue.set_subject("bob");
  issue.set_device(trust::DeviceName(bob.device.id));
  key::v1::IssueCredentialResponse issued;
  EXPECT_EQ(Reason(alice_client_->Call(&KeyClient::Stub::IssueCredential, issue, &issued)), "DEVICE_UNKNOWN");
  issue.set_role(ROLE_AUDITOR);
  ASSERT_EQ(alice_client_->Call(&KeyClient::Stub::IssueCredential, issue, &issued), absl::OkStatus());
  EXPECT_EQ(Lists(*keyd_.Connect(ToCredential(issued))), absl::OkStatus());
  ASSERT_EQ(Append(*alice_client_, {By(alice_).RevokeDevice(bob.device.id)}).status(), absl::OkStatus());
  EXPECT_EQ(RefusalWithinASecond(*keyd_.Connect(ToCredential(issued))), "KEY_REFUSED");
  issue.set_request_id(crypto::RandomUuid());
  EXPECT_EQ(Reason(alice_client_->Call(&KeyClient::Stub::IssueCredential, issue, &issued)), "DEVICE_UNKNOWN");
}

TEST_F(TrustTest, OnlyADevicesCredentialIsRenewed) {
  trust::v1::RenewCredentialRequest renew;
  renew.set_request_id(crypto::RandomUuid());
  trust::v1::RenewCredentialResponse renewed;
  EXPECT_EQ(Reason(keyd_.ConnectAs("admin")->CallTrust(&TrustStub::RenewCredential, renew, &renewed)),
            "DEVICE_UNKNOWN");
}

TEST_F(TrustTest, WatchTellsWhatThereIsAndThenWhatComes) {
  const auto taskd = keyd_.ConnectAs("taskd");
  grpc::ClientContext context;
  trust::v1::WatchCertificatesRequest request;
  request.set_after_sequence(1);
  const auto stream = taskd->trust_stub()->WatchCertificates(&context, request);
  trust::v1::WatchCertificatesResponse message;
  ASSERT_TRUE(stream->Read(&message));
  ASSERT_EQ(message.certificates_size(), 1);
  EXPECT_EQ(message.certificates(0).SerializeAsString(), founding_.certificates[1].SerializeAsString());
  EXPECT_EQ(message.last_sequence(), 2);
  const Certificates bobs = EnrolledBy(TestMember("bob"), alice_);
  ASSERT_EQ(Enrol(*alice_client_, bobs).status(), absl::OkStatus());
  ASSERT_TRUE(stream->Read(&message));
  ASSERT_EQ(message.certificates_size(), 2);
  EXPECT_EQ(message.certificates(1).SerializeAsString(), bobs[1].SerializeAsString());
  EXPECT_EQ(message.last_sequence(), 4);
  context.TryCancel();
  stream->Finish();
}

TEST_F(TrustTest, ListsInPages) {
  for (const char* const name : {"bob", "ann", "tim"}) Join(TestMember(name));
  trust::v1::ListCertificatesRequest request;
  request.set_page_size(3);
  request.set_after_sequence(4);
  trust::v1::ListCertificatesResponse page;
  ASSERT_EQ(alice_client_->CallTrust(&TrustStub::ListCertificates, request, &page), absl::OkStatus());
  EXPECT_EQ(page.certificates_size(), 3);
  EXPECT_EQ(page.last_sequence(), 8);
  EXPECT_EQ(page.organisation(), "parley");
  request.set_after_sequence(8);
  ASSERT_EQ(alice_client_->CallTrust(&TrustStub::ListCertificates, request, &page), absl::OkStatus());
  EXPECT_EQ(page.certificates_size(), 0);
  request.set_after_sequence(-1);
  EXPECT_EQ(Reason(alice_client_->CallTrust(&TrustStub::ListCertificates, request, &page)), "AFTER_SEQUENCE");
  request.set_after_sequence(0);
  request.set_page_size(1001);
  EXPECT_EQ(Reason(alice_client_->CallTrust(&TrustStub::ListCertificates, request, &page)), "PAGE_SIZE");
}

}  // namespace
}  // namespace parley::keyd
