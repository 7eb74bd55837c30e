// Invitations: who may make, see and use them, and what becomes of them.
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/crypto/kdf.h"
#include "services/enrolld/testing/enrolld_testing.h"
#include "services/enrolld/testing/fake_mailer_test.h"

namespace parley::enrolld {
namespace {

using enrol::v1::ListInvitationsRequest;
using Stub = InvitationService::Stub;

class InvitationTest : public EnrolldTest {
 protected:
  enrol::v1::GetInvitationRequest Named(const std::string& name) {
    enrol::v1::GetInvitationRequest request;
    request.set_name(name);
    return request;
  }
  CreateInvitationRequest NewDevice() {
    CreateInvitationRequest request = NewUser("");
    request.set_kind(Invitation::KIND_DEVICE);
    request.clear_role();
    return request;
  }
  absl::Status Greet(EnrolldTestClient* client, const std::string& name) {
    TestStream stream(client, name, 'g');
    stream.Hello();
    const ExchangeResponse first = stream.Read();
    return first.has_state() ? absl::OkStatus() : stream.Finish();
  }
};

TEST_F(InvitationTest, CarriesWhatWasAskedFor) {
  CreateInvitationRequest request = NewUser("web-1", access::v1::ROLE_DEVICE);
  request.mutable_ttl()->set_seconds(3600);
  const auto invited = admin().Call(&Stub::CreateInvitation, request);
  ASSERT_TRUE(invited.ok()) << invited.status();
  const Invitation& invitation = invited->invitation();
  EXPECT_EQ(invitation.state(), Invitation::STATE_PENDING);
  EXPECT_EQ(invitation.user_name(), "web-1");
  EXPECT_EQ(invitation.role(), access::v1::ROLE_DEVICE);
  EXPECT_EQ(invitation.creator(), "alice");
  const keys::InvitationLink link = Link(*invited);
  EXPECT_EQ(link.organisation, "Example");
  EXPECT_EQ("invitations/" + link.invitation, invitation.name());
  EXPECT_EQ(link.kind, keys::InvitationKind::kUser);
  EXPECT_EQ(link.not_after, clock_.Now() + absl::Hours(1));
}

TEST_F(InvitationTest, TheSameRequestGetsTheSameLinkAlsoAfterARestart) {
  const CreateInvitationRequest request = NewUser("bob");
  const auto first = admin().Call(&Stub::CreateInvitation, request);
  EXPECT_EQ(admin().Call(&Stub::CreateInvitation, request)->link(), first->link());
  Restart();
  EXPECT_EQ(admin().Call(&Stub::CreateInvitation, request)->link(), first->link());
  CreateInvitationRequest other = request;
  other.set_user_name("eve");
  EXPECT_EQ(Reason(admin().Call(&Stub::CreateInvitation, other).status()), "REQUEST_ID_REUSED");
  EXPECT_EQ(admin().Call(&Stub::ListInvitations, ListInvitationsRequest())->invitations_size(), 1);
}

TEST_F(InvitationTest, EndsWithTheCredentialThatItWasMadeWith) {
  const std::string serial = crypto::RandomBytes(keys::kSerialBytes);
  const auto carol = Connect(MintAgain(access::v1::ROLE_ADMIN, "carol", serial, absl::Hours(2)));
  const auto invited = carol->Call(&Stub::CreateInvitation, NewUser("bob"));
  ASSERT_TRUE(invited.ok()) << invited.status();
  // No later than that, and at once when it is revoked.
  EXPECT_LE(Link(*invited).not_after, clock_.Now() + absl::Hours(2));
  const std::string others = Invite("eve").invitation().name();
  ended_credentials().OnRevoked(serial, clock_.Now() + absl::Hours(2));
  ASSERT_EQ(ended_credentials().CatchUp(), absl::OkStatus());
  const Invitation ended = Get(invited->invitation().name());
  EXPECT_EQ(ended.state(), Invitation::STATE_CANCELED);
  EXPECT_TRUE(absl::StrContains(ended.end_sentence(), "revoked")) << ended.end_sentence();
  EXPECT_EQ(Get(others).state(), Invitation::STATE_PENDING);
  EXPECT_FALSE(Greet(Claimer(*invited).get(), invited->invitation().name()).ok());
  // A call that comes behind it, over a connection of before.
  EXPECT_EQ(Reason(carol->Call(&Stub::CreateInvitation, NewUser("late")).status()), "KEY_REVOKED");
  enrol::v1::AwaitEndedInvitationsRequest request;
  request.add_credentials(absl::StrCat("credentials/", HexEncode(serial)));
  const auto counted = admin().Call(&Stub::AwaitEndedInvitations, request);
  ASSERT_TRUE(counted.ok()) << counted.status();
  EXPECT_EQ(counted->invitations(), 1);
}

TEST_F(InvitationTest, OnlyAdminsInviteUsersAndEveryoneTheirOwnDevices) {
  const auto olga = Connect(access::v1::ROLE_OPERATOR, "olga");
  const auto refused = olga->Call(&Stub::CreateInvitation, NewUser("bob"));
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_TRUE(audit_.Has("rpc.refused", "NOT_YOUR_INVITATION"));
  const auto device = olga->Call(&Stub::CreateInvitation, NewDevice());
  ASSERT_TRUE(device.ok()) << device.status();
  EXPECT_EQ(device->invitation().user_name(), "olga");
  EXPECT_EQ(Link(*device).kind, keys::InvitationKind::kDevice);
  EXPECT_TRUE(Connect(access::v1::ROLE_AUDITOR, "otto")->Call(&Stub::CreateInvitation, NewDevice()).ok());
  EXPECT_EQ(Connect(access::v1::ROLE_DEVICE, "web-1")->Call(&Stub::CreateInvitation, NewDevice()).status().code(),
            absl::StatusCode::kPermissionDenied);
}

TEST_F(InvitationTest, OthersNeitherSeeNorGreetAnothersDevice) {
  const auto olga = Connect(access::v1::ROLE_OPERATOR, "olga");
  const auto oscar = Connect(access::v1::ROLE_OPERATOR, "oscar");
  const std::string name = olga->Call(&Stub::CreateInvitation, NewDevice())->invitation().name();
  EXPECT_EQ(oscar->Call(&Stub::GetInvitation, Named(name)).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(oscar->Call(&Stub::ListInvitations, ListInvitationsRequest())->invitations_size(), 0);
  EXPECT_EQ(Greet(oscar.get(), name).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Greet(&admin(), name).code(), absl::StatusCode::kPermissionDenied) << "an admin is not olga either";
  EXPECT_TRUE(admin().Call(&Stub::GetInvitation, Named(name)).ok());
  EXPECT_TRUE(Greet(olga.get(), name).ok());
  enrol::v1::ResendInvitationRequest resend;
  resend.set_request_id(NewUser("").request_id());
  resend.set_name(name);
  EXPECT_EQ(admin().Call(&Stub::ResendInvitation, resend).status().code(), absl::StatusCode::kPermissionDenied)
      << "the link is olga's";
  enrol::v1::CancelInvitationRequest cancel;
  cancel.set_name(name);
  EXPECT_TRUE(admin().Call(&Stub::CancelInvitation, cancel).ok());
}

TEST_F(InvitationTest, NobodyButAnAdminGreetsAUser) {
  const std::string name = Invite("bob").invitation().name();
  EXPECT_EQ(Greet(Connect(access::v1::ROLE_OPERATOR, "olga").get(), name).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Greet(Connect(access::v1::ROLE_AUDITOR, "otto").get(), name).code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(Greet(Connect(access::v1::ROLE_DEVICE, "web-1").get(), name).code(), absl::StatusCode::kPermissionDenied);
  EXPECT_TRUE(Greet(Connect(access::v1::ROLE_ADMIN, "anna").get(), name).ok()) << "any admin does";
}

TEST_F(InvitationTest, AnInviteeClaimsItsOwnInvitationAndDoesNothingElse) {
  const CreateInvitationResponse bob = Invite("bob");
  const CreateInvitationResponse eve = Invite("eve");
  const auto invitee = Claimer(eve);
  EXPECT_EQ(Greet(invitee.get(), bob.invitation().name()).code(), absl::StatusCode::kPermissionDenied);
  EXPECT_TRUE(audit_.Has("rpc.refused", "OTHER_INVITATION"));
  EXPECT_EQ(invitee->Call(&Stub::CreateInvitation, NewUser("mallory")).status().code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(invitee->Call(&Stub::GetInvitation, Named(eve.invitation().name())).status().code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(invitee->Call(&Stub::ListInvitations, ListInvitationsRequest()).status().code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_TRUE(Greet(invitee.get(), eve.invitation().name()).ok()) << "to claim is what it may";
}

TEST_F(InvitationTest, ListsNewestFirstInPages) {
  for (const char* const name : {"a", "b", "c", "d", "e"}) {
    Invite(name);
    clock_.Advance(absl::Seconds(1));
  }
  ListInvitationsRequest request;
  request.set_page_size(2);
  std::string names;
  do {
    const auto page = admin().Call(&Stub::ListInvitations, request);
    ASSERT_TRUE(page.ok()) << page.status();
    for (const Invitation& invitation : page->invitations()) absl::StrAppend(&names, invitation.user_name());
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(names, "edcba");
  request.set_page_token("nonsense");
  EXPECT_EQ(Reason(admin().Call(&Stub::ListInvitations, request).status()), "PAGE_TOKEN");
  request.clear_page_token();
  request.add_states(Invitation::STATE_COMPLETED);
  EXPECT_EQ(admin().Call(&Stub::ListInvitations, request)->invitations_size(), 0);
}

TEST_F(InvitationTest, ExpiresAndItsLinkWithIt) {
  const CreateInvitationResponse invited = Invite("bob");
  const auto invitee = Claimer(invited);
  TestStream stream(invitee.get(), invited.invitation().name(), 'c');
  stream.Hello();
  EXPECT_EQ(stream.ReadState().phase(), enrol::v1::State::PHASE_WAITING);
  EXPECT_TRUE(Get(invited.invitation().name()).claimer_waiting());
  // The wait has a lease of its own, so the claimer is long gone.
  clock_.Advance(absl::Hours(48));
  while (stream.Read().response_case() != 0) {
  }
  while (Get(invited.invitation().name()).state() == Invitation::STATE_PENDING) {
  }
  EXPECT_EQ(Get(invited.invitation().name()).state(), Invitation::STATE_EXPIRED);
  EXPECT_EQ(Reason(Greet(&admin(), invited.invitation().name())), "INVITATION_EXPIRED");
}

TEST_F(InvitationTest, ACanceledLinkOpensNothingAlsoAfterARestart) {
  const CreateInvitationResponse invited = Invite("bob");
  enrol::v1::CancelInvitationRequest request;
  request.set_name(invited.invitation().name());
  EXPECT_EQ(admin().Call(&Stub::CancelInvitation, request)->state(), Invitation::STATE_CANCELED);
  EXPECT_EQ(admin().Call(&Stub::CancelInvitation, request)->state(), Invitation::STATE_CANCELED) << "again";
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Reason(Greet(Claimer(invited).get(), invited.invitation().name())), "KEY_REFUSED");
    EXPECT_EQ(Reason(Greet(&admin(), invited.invitation().name())), "INVITATION_CANCELED");
    Restart();
  }
}

TEST_F(InvitationTest, IsForgottenLongAfterItsEnd) {
  enrol::v1::CancelInvitationRequest request;
  for (const char* const name : {"bob", "carol"}) {
    request.set_name(Invite(name).invitation().name());
    ASSERT_TRUE(admin().Call(&Stub::CancelInvitation, request).ok());
    clock_.Advance(absl::Hours(24 * 2));
  }
  clock_.Advance(absl::Hours(24 * 87));
  // Until the second is the only one.
  const auto client = Connect(access::v1::ROLE_ADMIN, "alice");
  while (client->Call(&Stub::ListInvitations, ListInvitationsRequest())->invitations_size() != 1) {
  }
  EXPECT_TRUE(client->Call(&Stub::GetInvitation, Named(request.name())).ok());
}

TEST_F(InvitationTest, SendsNoMailWhereNoneIsSetUp) {
  CreateInvitationRequest request = NewUser("bob");
  request.set_email("bob@example.org");
  EXPECT_EQ(Reason(admin().Call(&Stub::CreateInvitation, request).status()), "MAIL_NOT_SET_UP");
  request.set_email("bob@example.org\r\nBcc: eve@example.net");
  EXPECT_EQ(Reason(admin().Call(&Stub::CreateInvitation, request).status()), "EMAIL_MALFORMED");
}

class MailTest : public InvitationTest {
 protected:
  void SetUp() override {
    InvitationTest::Stop();
    mailer_ = &fake_;
    Start();
  }
  void TearDown() override { InvitationTest::Stop(); }
  CreateInvitationResponse InviteByMail() {
    CreateInvitationRequest request = NewUser("bob");
    request.set_email("bob@example.org");
    const auto invited = admin().Call(&Stub::CreateInvitation, request);
    EXPECT_TRUE(invited.ok()) << invited.status();
    return *invited;
  }
  enrol::v1::Mail WaitFor(const std::string& name, int tries) {
    while (Get(name).mail().tries() < tries) {
    }
    return Get(name).mail();
  }

  FakeMailer fake_;
};

TEST_F(MailTest, CarriesTheLink) {
  const CreateInvitationResponse invited = InviteByMail();
  EXPECT_EQ(WaitFor(invited.invitation().name(), 1).state(), enrol::v1::Mail::STATE_SENT);
  EXPECT_TRUE(absl::StrContains(fake_.MailTo("bob@example.org"), invited.link()));
  // The last thing that is done about it.
  InvitationTest::Stop();
  EXPECT_TRUE(audit_.Has("invitation.mailed", "ok"));
}

TEST_F(MailTest, IsTriedAgainUntilItIsTakenAlsoAfterARestart) {
  fake_.AnswerWith(Error(absl::StatusCode::kUnavailable, "MAIL_SERVER_UNAVAILABLE", "busy"));
  const CreateInvitationResponse invited = InviteByMail();
  const std::string name = invited.invitation().name();
  enrol::v1::Mail mail = WaitFor(name, 1);
  EXPECT_EQ(mail.state(), enrol::v1::Mail::STATE_QUEUED);
  EXPECT_EQ(mail.sentence(), "busy");
  Restart();
  clock_.Advance(absl::Seconds(30));
  EXPECT_EQ(WaitFor(name, 2).state(), enrol::v1::Mail::STATE_QUEUED);
  fake_.AnswerWith(absl::OkStatus());
  clock_.Advance(absl::Seconds(60));
  mail = WaitFor(name, 3);
  EXPECT_EQ(mail.state(), enrol::v1::Mail::STATE_SENT);
  EXPECT_EQ(mail.sentence(), "");
}

TEST_F(MailTest, IsGivenUpWhenItIsRefused) {
  fake_.AnswerWith(Error(absl::StatusCode::kFailedPrecondition, "MAIL_REFUSED", "no such user"));
  const CreateInvitationResponse invited = InviteByMail();
  const enrol::v1::Mail mail = WaitFor(invited.invitation().name(), 1);
  EXPECT_EQ(mail.state(), enrol::v1::Mail::STATE_FAILED);
  EXPECT_EQ(mail.sentence(), "no such user");
  clock_.Advance(absl::Hours(1));
  Restart();
  EXPECT_EQ(fake_.tries(), 1);
  EXPECT_TRUE(audit_.Has("invitation.mail_failed", "ok"));
}

TEST_F(MailTest, IsSentAgainOnceForEachRequest) {
  const CreateInvitationResponse invited = InviteByMail();
  const std::string name = invited.invitation().name();
  WaitFor(name, 1);
  enrol::v1::ResendInvitationRequest request;
  request.set_request_id(NewUser("").request_id());
  request.set_name(name);
  request.set_email("bob@example.net");
  for (int i = 0; i < 2; ++i) {
    const auto again = admin().Call(&Stub::ResendInvitation, request);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->link(), invited.link());
    EXPECT_EQ(again->invitation().email(), "bob@example.net");
    EXPECT_EQ(WaitFor(name, 1).state(), enrol::v1::Mail::STATE_SENT);
  }
  EXPECT_TRUE(absl::StrContains(fake_.MailTo("bob@example.net"), invited.link()));
  EXPECT_EQ(fake_.tries(), 2);
}

}  // namespace
}  // namespace parley::enrolld
