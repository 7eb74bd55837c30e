#include "services/enrolld/domain/exchange_rules.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "lib/sas/reason.h"
#include "services/enrolld/domain/exchange_rules_testing.h"

namespace parley::enrolld {
namespace {

// --- Rule 1: one attempt at a time, when both are there --------------------------------------------------------------

TEST_F(RelayTest, AnAttemptBeginsWhenBothAreThere) {
  const StreamId claimer = Hello(Claimer(), 'c');
  EXPECT_EQ(LastState(claimer).phase(), enrol::v1::State::PHASE_WAITING);
  EXPECT_TRUE(relay_->Show().claimer_waiting());
  const StreamId greeter = Hello(Greeter("alice"), 'g');
  for (const StreamId stream : {claimer, greeter}) {
    EXPECT_EQ(LastState(stream).phase(), enrol::v1::State::PHASE_EXCHANGING);
    EXPECT_EQ(LastState(stream).attempt(), 1u);
    EXPECT_TRUE(LastState(stream).peer_connected());
  }
  EXPECT_EQ(relay_->Show().greeter(), "admin/alice");
  EXPECT_EQ(stored_.attempt().number(), 1u);
}

TEST_F(RelayTest, ASecondGreeterIsRefusedWhileAnotherGreetsOrWaits) {
  const StreamId first = Hello(Greeter("alice"), 'g');
  EXPECT_EQ(refused_[Hello(Greeter("anna"), 'h')], "GREETER_BUSY");
  Hello(Claimer(), 'c');
  EXPECT_EQ(refused_[Hello(Greeter("anna"), 'h')], "GREETER_BUSY");
  Apply(relay_->Gone(first, now_));
  EXPECT_EQ(refused_[Hello(Greeter("anna"), 'h')], "GREETER_BUSY") << "alice may come back";
  EXPECT_EQ(stored_.attempt().number(), 1u);
}

TEST_F(RelayTest, AGreeterWhoGaveUpWaitingMakesRoom) {
  const StreamId first = Hello(Greeter("alice"), 'g');
  Apply(relay_->Gone(first, now_));
  EXPECT_EQ(refused_.count(Hello(Greeter("anna"), 'h')), 0u);
  Hello(Claimer(), 'c');
  EXPECT_EQ(stored_.attempt().greeter().actor(), "admin/anna");
}

TEST_F(RelayTest, TheNewestClaimerWaits) {
  const StreamId first = Hello(Claimer(), 'c');
  const StreamId second = Hello(Claimer(), 'd');
  EXPECT_EQ(refused_[first], "CLAIMER_REPLACED");
  const StreamId again = Hello(Claimer(), 'd');
  EXPECT_EQ(refused_[second], "STREAM_REPLACED");
  Hello(Greeter("alice"), 'g');
  EXPECT_EQ(LastState(again).attempt(), 1u);
}

TEST_F(RelayTest, AttemptsAreCountedUp) {
  Begin();
  Stop(greeter_, Greeter("alice"), 1, false);
  Begin();
  EXPECT_EQ(LastState(greeter_).attempt(), 2u);
  EXPECT_EQ(stored_.attempt().number(), 2u);
  Restart();
  EXPECT_EQ(relay_->record().invitation().attempts(), 2u);
}

// --- Rule 2: what is taken, and passed on ----------------------------------------------------------------------------

TEST_F(RelayTest, PassesEachMessageOnOnceAndInOrder) {
  ExchangeUpTo(8);
  EXPECT_EQ(Delivered(greeter_), "0 1 3 4 6 8 ");
  EXPECT_EQ(Delivered(claimer_), "0 2 5 7 ");
}

TEST_F(RelayTest, PassesBytesOnAsTheyCame) {
  Begin();
  const std::string bytes = Bytes(Role::kGreeter, 0);
  SendBytes(greeter_, bytes);
  EXPECT_EQ(told_[claimer_].back().message().message(), bytes);
  EXPECT_EQ(told_[claimer_].back().message().attempt(), 1u);
}

TEST_F(RelayTest, TheSameBytesAgainArePassedOnToNobody) {
  ExchangeUpTo(3);
  const std::string before = Delivered(greeter_);
  Send(claimer_, Role::kClaimer, 3);
  Send(claimer_, Role::kClaimer, 0);
  EXPECT_EQ(Delivered(greeter_), before);
  EXPECT_TRUE(relay_->record().has_attempt());
}

TEST_F(RelayTest, OtherBytesForAStepThatWasTakenEndTheAttempt) {
  ExchangeUpTo(0);
  Send(claimer_, Role::kClaimer, 0, 'y');
  for (const StreamId stream : {greeter_, claimer_}) {
    EXPECT_EQ(LastEnded(stream).reason(), "MESSAGE_REFUSED");
    EXPECT_EQ(LastEnded(stream).peer_reason(), sas::kChanged);
    EXPECT_TRUE(LastEnded(stream).suspected());
  }
  EXPECT_TRUE(Happened("invitee/aaaa enrolment.attempt_ended MESSAGE_REFUSED"));
}

TEST_F(RelayTest, MessagesOfAnOlderAttemptChangeNothing) {
  Begin();
  const std::string old = Bytes(Role::kClaimer, 0);
  Stop(greeter_, Greeter("alice"), 1, false);
  Begin();
  SendBytes(claimer_, old, 1);
  EXPECT_EQ(Delivered(greeter_), "");
  EXPECT_TRUE(relay_->record().has_attempt());
}

// Each refused with a reason of its own; the exchange ends for both.
TEST_F(RelayTest, RefusesWhatTheExchangeDoesNotAllow) {
  const sas::Context good = {std::string(kOrganisation), std::string(32, 'a'), 1, sas::Kind::kUser};
  const auto with = [&good](auto change) {
    sas::Context context = good;
    change(&context);
    return absl::StrCat(sas::EncodeHeader(context, Role::kClaimer, 0), std::string(32, 'x'));
  };
  struct Case {
    std::string bytes;
    absl::string_view reason;
  };
  std::string version = Bytes(Role::kClaimer, 0, 1);
  version[0] = 2;
  const std::string body(32, 'x');
  const std::vector<Case> cases = {
      {version, sas::kWrongVersion},
      {"", sas::kWrongLength},
      {Bytes(Role::kClaimer, 0, 1).substr(0, 71), sas::kWrongLength},
      {Bytes(Role::kClaimer, 0, 1) + "x", sas::kWrongLength},
      {with([](sas::Context* context) { context->organisation = "Other"; }), sas::kOtherOrganisation},
      {with([](sas::Context* context) { context->invitation = std::string(32, 'b'); }), sas::kOtherInvitation},
      {with([](sas::Context* context) { context->kind = sas::Kind::kDevice; }), sas::kOtherKind},
      {with([](sas::Context* context) { context->attempt = 2; }), sas::kOtherAttempt},
      {absl::StrCat(sas::EncodeHeader(good, Role::kGreeter, 0), body), sas::kWrongRole},
      {absl::StrCat(sas::EncodeHeader(good, Role::kClaimer, 2), body), sas::kWrongRole},
      {absl::StrCat(sas::EncodeHeader(good, Role::kClaimer, 1), body), sas::kWrongStep},
      {absl::StrCat(sas::EncodeHeader(good, Role::kClaimer, 8), body), sas::kWrongStep},
  };
  const InvitationRecord fresh = stored_;
  for (const Case& refused : cases) {
    stored_ = fresh;
    stored_steps_.clear();
    Restart();
    Begin();
    SendBytes(claimer_, refused.bytes);
    EXPECT_EQ(LastEnded(greeter_).peer_reason(), refused.reason);
    EXPECT_EQ(LastEnded(claimer_).peer_reason(), refused.reason);
    EXPECT_EQ(LastEnded(greeter_).suspected(), sas::SuspectsAttack(refused.reason)) << refused.reason;
    EXPECT_EQ(Delivered(greeter_), "");
  }
}

TEST_F(RelayTest, ASideThatResumesIsGivenAgainWhatItAsksFor) {
  ExchangeUpTo(6);
  Apply(relay_->Gone(greeter_, now_));
  EXPECT_FALSE(LastState(claimer_).peer_connected());
  const StreamId back = Hello(Greeter("alice"), 'g', 1, 6);
  EXPECT_EQ(Delivered(back), "6 ");
  EXPECT_TRUE(LastState(claimer_).peer_connected());
  greeter_ = back;
  Send(greeter_, Role::kGreeter, 5);
  EXPECT_EQ(Delivered(claimer_), "0 2 5 ") << "its last message again: nothing new";
  Send(greeter_, Role::kGreeter, 7);
  Send(claimer_, Role::kClaimer, 8);
  EXPECT_EQ(Delivered(back), "6 8 ");
}

TEST_F(RelayTest, ASideThatResumesGetsAllThatCameMeanwhile) {
  Begin();
  Send(greeter_, Role::kGreeter, 0);
  Apply(relay_->Gone(greeter_, now_));
  Send(claimer_, Role::kClaimer, 0);
  Send(claimer_, Role::kClaimer, 1);
  EXPECT_EQ(Delivered(Hello(Greeter("alice"), 'g', 1, 0)), "0 1 ");
}

TEST_F(RelayTest, AnotherStreamOfTheSameInstanceTakesThePlaceOfTheFirst) {
  ExchangeUpTo(3);
  const StreamId back = Hello(Claimer(), 'c', 1, 5);
  EXPECT_EQ(refused_[claimer_], "STREAM_REPLACED");
  Send(claimer_, Role::kClaimer, 4);
  EXPECT_EQ(Delivered(greeter_), "0 1 3 ") << "the old stream has no say any more";
  Send(back, Role::kClaimer, 4);
  EXPECT_EQ(Delivered(greeter_), "0 1 3 4 ");
}

TEST_F(RelayTest, NobodyResumesAsAnother) {
  ExchangeUpTo(3);
  EXPECT_EQ(refused_[Hello(Claimer(), 'd', 1, 5)], "CLAIMER_BUSY");
  EXPECT_EQ(refused_[Hello(Greeter("alice"), 'h', 1, 3)], "GREETER_BUSY");
  EXPECT_EQ(refused_[Hello(Greeter("mallory"), 'g', 1, 3)], "GREETER_BUSY") << "a stolen instance is not enough";
  EXPECT_EQ(refused_[Hello(Greeter("alice"), 'g', 2, 3)], "ATTEMPT_UNKNOWN");
  EXPECT_TRUE(relay_->record().has_attempt());
}

// --- Rule 3: a side that comes back without its state ----------------------------------------------------------------

TEST_F(RelayTest, ASideWithoutItsStateEndsTheAttempt) {
  for (const int step : {0, 1, 3, 4, 5, 6}) {
    ExchangeUpTo(step);
    const uint32_t attempt = stored_.attempt().number();
    const StreamId back = Hello(Claimer(), 'c');
    EXPECT_EQ(LastEnded(greeter_).reason(), "PEER_LOST_STATE") << step;
    EXPECT_EQ(LastEnded(greeter_).suspected(), step >= 2 && step < 5) << step;
    if (state() != Invitation::STATE_PENDING) break;
    EXPECT_EQ(LastState(back).phase(), enrol::v1::State::PHASE_WAITING);
    claimer_ = back;
    greeter_ = Hello(Greeter("alice"), 'g');
    EXPECT_EQ(stored_.attempt().number(), attempt + 1);
  }
}

TEST_F(RelayTest, AGreeterIsKnownAgainByItsKey) {
  ExchangeUpTo(1);
  Apply(relay_->Gone(greeter_, now_));
  const StreamId back = Hello(Greeter("alice"), 'h');
  EXPECT_EQ(LastEnded(claimer_).reason(), "PEER_LOST_STATE");
  EXPECT_EQ(LastState(back).phase(), enrol::v1::State::PHASE_WAITING);
}

// --- Rule 4: a second claimer ----------------------------------------------------------------------------------------

TEST_F(RelayTest, ASecondClaimerEndsTheAttemptBeforeStep5WithAReasonToBoth) {
  ExchangeUpTo(3);
  const StreamId second = Hello(Claimer(), 'd');
  for (const StreamId stream : {greeter_, claimer_}) {
    EXPECT_EQ(LastEnded(stream).reason(), "SECOND_CLAIMER");
    EXPECT_TRUE(LastEnded(stream).suspected());
  }
  EXPECT_EQ(LastState(second).phase(), enrol::v1::State::PHASE_WAITING);
}

TEST_F(RelayTest, ASecondClaimerIsRefusedFromStep5On) {
  ExchangeUpTo(5);
  EXPECT_EQ(refused_[Hello(Claimer(), 'd')], "CLAIMER_BUSY");
  Apply(relay_->Gone(claimer_, now_));
  EXPECT_EQ(refused_[Hello(Claimer(), 'd')], "CLAIMER_BUSY") << "the first may come back";
  EXPECT_TRUE(relay_->record().has_attempt());
}

// --- Rule 5: every wait has a lease ----------------------------------------------------------------------------------

TEST_F(RelayTest, WaitingEndsWhenNobodyComes) {
  const StreamId greeter = Hello(Greeter("alice"), 'g');
  EXPECT_EQ(relay_->Deadline(), now_ + leases_.waiting);
  Advance(leases_.waiting);
  EXPECT_EQ(refused_[greeter], "WAIT_OVER");
  EXPECT_EQ(relay_->Show().greeter(), "");
}

TEST_F(RelayTest, EveryStepHasALease) {
  for (int step = 0; step < 8; ++step) {
    SCOPED_TRACE(step);
    stored_.clear_suspected();
    Restart();
    ExchangeUpTo(step);
    const absl::Duration lease = step == 3 ? leases_.people : leases_.machine;
    EXPECT_EQ(relay_->Deadline(), now_ + lease);
    Advance(lease - absl::Seconds(1));
    ASSERT_TRUE(relay_->record().has_attempt());
    Advance(absl::Seconds(1));
    for (const StreamId stream : {greeter_, claimer_}) {
      EXPECT_EQ(LastEnded(stream).reason(), "OUT_OF_TIME");
      EXPECT_EQ(LastEnded(stream).suspected(), step >= 2 && step < 5);
      EXPECT_EQ(LastEnded(stream).over(), step == 7);
    }
  }
}

TEST_F(RelayTest, AnAttemptThatNeverBeginsToSpeakEnds) {
  Begin();
  Advance(leases_.machine);
  EXPECT_EQ(LastEnded(claimer_).reason(), "OUT_OF_TIME");
  EXPECT_FALSE(LastEnded(claimer_).suspected());
}

TEST_F(RelayTest, ASideThatIsAwayForTooLongEndsTheAttempt) {
  ExchangeUpTo(3);
  Apply(relay_->Gone(claimer_, now_));
  Advance(leases_.away);
  EXPECT_EQ(LastEnded(greeter_).reason(), "PEER_AWAY");
  EXPECT_TRUE(LastEnded(greeter_).suspected());
  const StreamId back = Hello(Claimer(), 'c', 1, 5);
  EXPECT_EQ(LastEnded(back).reason(), "PEER_AWAY") << "it hears how it ended";
}

TEST_F(RelayTest, AfterARestartBothHaveTheirTimeToComeBack) {
  ExchangeUpTo(5);
  now_ += absl::Hours(5);
  Restart();
  Advance(leases_.away - absl::Seconds(1));
  claimer_ = Hello(Claimer(), 'c', 1, 5);
  greeter_ = Hello(Greeter("alice"), 'g', 1, 6);
  EXPECT_EQ(Delivered(claimer_), "5 ");
  Advance(absl::Seconds(1));
  ASSERT_TRUE(relay_->record().has_attempt());
  for (const int step : {6, 7, 8}) {
    if (step == 7) Send(greeter_, Role::kGreeter, step);
    if (step != 7) Send(claimer_, Role::kClaimer, step);
  }
  EXPECT_EQ(state(), Invitation::STATE_COMPLETED);
}

TEST_F(RelayTest, ARestartLosesNoMessageAtAnyStep) {
  const InvitationRecord fresh = stored_;
  for (int step = 0; step < 8; ++step) {
    SCOPED_TRACE(step);
    stored_ = fresh;
    stored_steps_.clear();
    Restart();
    ExchangeUpTo(step);
    Restart();
    greeter_ = Hello(Greeter("alice"), 'g', 1, 0);
    claimer_ = Hello(Claimer(), 'c', 1, 0);
    std::string to_greeter;
    std::string to_claimer;
    for (int done = 0; done <= step; ++done) {
      if (sas::SpeaksAt(Role::kClaimer, done)) absl::StrAppend(&to_greeter, done, " ");
      if (sas::SpeaksAt(Role::kGreeter, done)) absl::StrAppend(&to_claimer, done, " ");
    }
    EXPECT_EQ(Delivered(greeter_), to_greeter);
    EXPECT_EQ(Delivered(claimer_), to_claimer);
  }
}

// --- Rule 6: spent from step 7 on ------------------------------------------------------------------------------------

TEST_F(RelayTest, FromStep7OnTheInvitationIsSpent) {
  ExchangeUpTo(7);
  Stop(claimer_, Claimer(), 1, false, "SAS_STOPPED");
  EXPECT_EQ(state(), Invitation::STATE_CLOSED);
  EXPECT_TRUE(LastEnded(greeter_).over());
  EXPECT_TRUE(LastEnded(greeter_).may_be_enrolled());
  EXPECT_TRUE(stored_steps_.empty());
  EXPECT_EQ(refused_[Hello(Claimer(), 'd')], "INVITATION_CLOSED");
  EXPECT_EQ(refused_[Hello(Greeter("alice"), 'g')], "INVITATION_CLOSED");
}

TEST_F(RelayTest, AGreeterThatWasAwayHearsThatTheNewcomerMayBeEnrolled) {
  ExchangeUpTo(7);
  Apply(relay_->Gone(greeter_, now_));
  Apply(relay_->Gone(claimer_, now_));
  Advance(leases_.away);
  EXPECT_EQ(state(), Invitation::STATE_CLOSED);
  Restart();
  const Ended ended = LastEnded(Hello(Greeter("alice"), 'g', 1, 8));
  EXPECT_EQ(ended.reason(), "PEER_AWAY");
  EXPECT_TRUE(ended.over());
  EXPECT_TRUE(ended.may_be_enrolled());
}

TEST_F(RelayTest, CancelingClosesWhatIsSpentAndCancelsWhatIsNot) {
  ExchangeUpTo(7);
  Apply(*relay_->Cancel("admin/alice", "wrong person", now_));
  EXPECT_EQ(state(), Invitation::STATE_CLOSED);
  EXPECT_EQ(Reason(relay_->Cancel("admin/alice", "", now_).status()), "INVITATION_CLOSED");
}

// --- Rule 7: step 8 stays until the greeter has it -------------------------------------------------------------------

TEST_F(RelayTest, Step8CompletesAndStaysUntilTheGreeterHasIt) {
  ExchangeUpTo(8);
  EXPECT_EQ(state(), Invitation::STATE_COMPLETED);
  EXPECT_EQ(LastEnded(claimer_).reason(), "INVITATION_COMPLETED");
  EXPECT_TRUE(LastEnded(claimer_).over());
  EXPECT_EQ(stored_steps_.size(), 1u) << "all else is wiped at once";
  Restart();
  greeter_ = Hello(Greeter("alice"), 'g', 1, 8);
  EXPECT_EQ(Delivered(greeter_), "8 ");
  Done(1);
  EXPECT_TRUE(stored_steps_.empty());
  EXPECT_FALSE(stored_.has_attempt());
  EXPECT_EQ(LastEnded(greeter_).reason(), "INVITATION_COMPLETED");
  EXPECT_TRUE(relay_->idle());
  EXPECT_EQ(LastEnded(Hello(Greeter("alice"), 'g', 1, 8)).reason(), "INVITATION_COMPLETED");
}

TEST_F(RelayTest, AGreeterThatNeverComesForStep8LeavesNothingBehind) {
  ExchangeUpTo(8);
  Apply(relay_->Gone(greeter_, now_));
  Advance(leases_.done);
  EXPECT_TRUE(stored_steps_.empty());
  EXPECT_EQ(state(), Invitation::STATE_COMPLETED);
}

TEST_F(RelayTest, NothingUndoesTheCompletion) {
  ExchangeUpTo(8);
  Stop(greeter_, Greeter("alice"), 1, true);
  EXPECT_EQ(Reason(relay_->Cancel("admin/alice", "", now_).status()), "INVITATION_COMPLETED");
  Advance(absl::Hours(100));
  EXPECT_EQ(state(), Invitation::STATE_COMPLETED);
  EXPECT_EQ(refused_[Hello(Claimer(), 'd')], "INVITATION_COMPLETED");
  EXPECT_EQ(LastEnded(Hello(Claimer(), 'c', 1, 8)).reason(), "INVITATION_COMPLETED");
}

TEST_F(RelayTest, OnlyTheGreeterOfACompletedExchangeSaysDone) {
  ExchangeUpTo(6);
  Done(1);
  EXPECT_EQ(refused_[greeter_], "STEP_8_MISSING");
  EXPECT_TRUE(relay_->record().has_attempt());
}

}  // namespace
}  // namespace parley::enrolld
