// Whole exchanges of lib/sas through a real enrolld: restarts, attacks on its rules, and what it never learns.
#include <dirent.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "services/enrolld/testing/enrolld_testing.h"
#include "services/enrolld/testing/two_sides_test.h"

namespace parley::enrolld {
namespace {

using sas::Next;

class ExchangeTest : public EnrolldTest, protected TwoSides {
 protected:
  void SetUp() override {
    invited_ = Invite("bob");
    name_ = invited_.invitation().name();
    Meet(name_);
    Reconnect();
    claimer_->Begin();
    greeter_->Begin();
  }
  void TearDown() override {
    greeter_.reset();
    claimer_.reset();
    claiming_.reset();
  }
  void Reconnect() {
    claiming_ = Claimer(invited_);
    claimer_->Connect(claiming_.get());
    greeter_->Connect(&admin());
  }
  CreateInvitationResponse invited_;
  std::string name_;
  std::unique_ptr<EnrolldTestClient> claiming_;
};

TEST_F(ExchangeTest, EnrolsANewcomer) {
  for (int move = 0; move < kMoves; ++move) Move(move);
  EXPECT_EQ(greeter_->exchange().next(), Next::kDone);
  EXPECT_EQ(claimer_->exchange().next(), Next::kDone);
  EXPECT_EQ(claimer_->stream().ReadEnded().reason(), "INVITATION_COMPLETED");
  EXPECT_TRUE(greeter_->stream().Finish().ok());
  const Invitation invitation = Get(name_);
  EXPECT_EQ(invitation.state(), Invitation::STATE_COMPLETED);
  EXPECT_EQ(invitation.attempts(), 1u);
  EXPECT_TRUE(audit_.Has("invitation.created", "ok"));
  EXPECT_TRUE(audit_.Has("enrolment.attempt_begun", "ok"));
  EXPECT_TRUE(audit_.Has("invitation.completed", "ok"));
}

// The service is killed before each move; both sides come back with what they have, and go on.
TEST_F(ExchangeTest, ARestartAtAnyStepLosesNothing) {
  for (int move = 0; move < kMoves; ++move) {
    SCOPED_TRACE(move);
    Stop(false);
    Start();
    // Once step 8 was taken the invitee's key opens nothing: the claimer is through.
    if (Get(name_).state() == Invitation::STATE_PENDING) {
      Reconnect();
    } else {
      greeter_->Connect(&admin());
    }
    Move(move);
  }
  EXPECT_EQ(Get(name_).state(), Invitation::STATE_COMPLETED);
  EXPECT_EQ(Get(name_).suspected_attempts(), 0u);
}

// Bytes that would be a betrayal, searched for in every file of the service and in the audit log.
TEST_F(ExchangeTest, NeitherCodesNorPayloadsNorKeysAreWrittenAnywhere) {
  for (int move = 0; move < kMoves - 1; ++move) {
    Move(move);
    std::string seen = audit_.Text();
    for (const auto& file : std::filesystem::directory_iterator(folder_)) {
      absl::StrAppend(&seen, *ReadFile(file.path(), 64 << 20));
    }
    ASSERT_TRUE(absl::StrContains(seen, name_.substr(12))) << "the search finds what is there";
    for (const absl::string_view secret :
         {absl::string_view(kNewcomer), absl::string_view(kEnrolled), absl::string_view(kSaved)}) {
      EXPECT_FALSE(absl::StrContains(seen, secret)) << move;
    }
    if (!code_.empty()) EXPECT_FALSE(absl::StrContains(seen, code_.Expose())) << move;
    const keys::InvitationLink link = Link(invited_);
    EXPECT_FALSE(absl::StrContains(seen, link.secret.Expose())) << "the link's key is made, not kept";
  }
}

TEST_F(ExchangeTest, AfterTheEndTheLinkOpensNothing) {
  for (int move = 0; move < kMoves; ++move) Move(move);
  EXPECT_EQ(claimer_->stream().ReadEnded().reason(), "INVITATION_COMPLETED");
  // The claimer has not gone by itself: it is closed, moments later.
  clock_.Advance(absl::Seconds(4));
  EXPECT_EQ(claimer_->stream().Read().response_case(), 0);
  EXPECT_FALSE(claimer_->stream().Finish().ok());
  const auto again = Claimer(invited_);
  TestStream stream(again.get(), name_, 'x');
  stream.Hello();
  EXPECT_EQ(Reason(stream.Finish()), "KEY_REFUSED") << "in the handshake";
}

TEST_F(ExchangeTest, CancelingEndsItForBothAndClosesTheDoor) {
  for (int move = 0; move < 5; ++move) Move(move);
  enrol::v1::CancelInvitationRequest request;
  request.set_name(name_);
  request.set_reason("wrong person");
  ASSERT_TRUE(admin().Call(&InvitationService::Stub::CancelInvitation, request).ok());
  for (Side* const side : {&*greeter_, &*claimer_}) {
    const Ended ended = side->stream().ReadEnded();
    EXPECT_EQ(ended.reason(), "INVITATION_CANCELED");
    EXPECT_EQ(ended.sentence(), "wrong person");
    EXPECT_TRUE(ended.over());
    EXPECT_TRUE(ended.suspected());
  }
  // How its stream ends says no more.
  (void)claimer_->stream().Finish();
  // Once the server knows that the claimer has heard it, there is not even a handshake.
  absl::Status refused;
  do {
    const auto again = Claimer(invited_);
    TestStream stream(again.get(), name_, 'x');
    stream.Hello();
    refused = stream.Finish();
    ASSERT_FALSE(refused.ok());
  } while (Reason(refused) != "KEY_REFUSED");
}

TEST_F(ExchangeTest, ARefusedMessageEndsItForBothAndIsAudited) {
  Move(0);
  claimer_->stream().Send(1, std::string(1, sas::kVersion));
  EXPECT_EQ(greeter_->stream().ReadEnded().peer_reason(), "SAS_LENGTH");
  EXPECT_EQ(claimer_->stream().ReadEnded().peer_reason(), "SAS_LENGTH");
  EXPECT_TRUE(audit_.Has("enrolment.attempt_ended", "MESSAGE_REFUSED"));
  EXPECT_EQ(Get(name_).suspected_attempts(), 1u);
}

TEST_F(ExchangeTest, ABrokenStreamIsMissedAndThenGivenUp) {
  Move(0);
  claimer_->stream().Cancel();
  while (greeter_->stream().ReadState().peer_connected()) {
  }
  clock_.Advance(absl::Minutes(2));
  EXPECT_EQ(greeter_->stream().ReadEnded().reason(), "PEER_AWAY");
}

TEST_F(ExchangeTest, ASecondClaimerIsTurnedAwayAfterTheCodes) {
  // Up to the claimer's receiving of step 5: so the server has it.
  for (int move = 0; move < 8; ++move) Move(move);
  const auto other = Claimer(invited_);
  TestStream second(other.get(), name_, 'd');
  second.Hello();
  EXPECT_EQ(Reason(second.Finish()), "CLAIMER_BUSY");
  for (int move = 8; move < kMoves; ++move) Move(move);
}

TEST_F(ExchangeTest, ReportsOfSuspicionLockIt) {
  for (uint32_t attempt = 1; attempt <= 3; ++attempt) {
    greeter_->stream().Stop(attempt, "SAS_COMMITMENT", true);
    EXPECT_EQ(claimer_->stream().ReadEnded().peer_reason(), "SAS_COMMITMENT");
    EXPECT_EQ(greeter_->stream().ReadEnded().over(), attempt == 3);
    if (attempt == 3) break;
    // The same streams go on to the next attempt.
    claimer_->stream().Hello();
    greeter_->stream().Hello();
    claimer_->Begin();
    greeter_->Begin();
  }
  EXPECT_EQ(Get(name_).state(), Invitation::STATE_LOCKED);
  EXPECT_TRUE(audit_.Has("invitation.locked", "ok"));
  EXPECT_TRUE(audit_.Has("enrolment.side_ended", "SAS_COMMITMENT"));
}

}  // namespace
}  // namespace parley::enrolld
