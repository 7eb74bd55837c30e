#include "services/enrolld/domain/exchange_rules.h"

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/sas/reason.h"
#include "services/enrolld/domain/names.h"

namespace parley::enrolld {
namespace {

using enrol::v1::Ended;
using enrol::v1::ExchangeResponse;
using enrol::v1::Invitation;
using sas::Role;

constexpr absl::string_view kOrganisation = "Example";

// Plays the session: numbers streams, collects what each was told, and loses everything but the stored on Restart.
class RelayTest : public testing::Test {
 protected:
  RelayTest() {
    Invitation& invitation = *stored_.mutable_invitation();
    invitation.set_name(InvitationName(std::string(32, 'a')));
    invitation.set_kind(Invitation::KIND_USER);
    invitation.set_user_name("bob");
    invitation.set_state(Invitation::STATE_PENDING);
    *invitation.mutable_expire_time() = ToProto(now_ + absl::Hours(48));
    Restart();
  }

  void Restart() { relay_.emplace(std::string(kOrganisation), leases_, stored_, stored_steps_, now_); }

  // What the session does with an effects.
  void Apply(const Effects& effects) {
    if (effects.wipe) stored_steps_.clear();
    for (const Slot& slot : effects.taken) stored_steps_[slot] = relay_->steps().at(slot);
    if (effects.record_changed) stored_ = relay_->record();
    ended_ |= effects.ended;
    for (const auto& [stream, response] : effects.tell) told_[stream].push_back(response);
    for (const auto& [stream, status] : effects.refuse) {
      refused_[stream] = Reason(status);
      Apply(relay_->Gone(stream, now_));
    }
    for (const auto& event : effects.events) {
      events_.push_back(absl::StrCat(event.actor, " ", event.action, " ", event.outcome));
    }
  }

  static CallingParty Greeter(const std::string& name) { return {Role::kGreeter, "admin/" + name}; }
  static CallingParty Claimer() { return {Role::kClaimer, "invitee/aaaa"}; }

  StreamId Hello(const CallingParty& who, char instance, uint32_t attempt = 0, uint32_t step = 0, StreamId stream = 0) {
    enrol::v1::Hello hello;
    hello.set_invitation(stored_.invitation().name());
    hello.set_instance(std::string(16, instance));
    hello.set_attempt(attempt);
    hello.set_step(step);
    if (stream == 0) stream = ++streams_;
    Apply(relay_->Hello(stream, who, hello, now_));
    return stream;
  }

  std::string Bytes(Role sender, int step, uint32_t attempt = 0, char fill = 'x') const {
    sas::Context context = {std::string(kOrganisation), std::string(32, 'a'),
                            attempt == 0 ? relay_->record().invitation().attempts() : attempt, sas::Kind::kUser};
    return absl::StrCat(sas::EncodeHeader(context, sender, step), std::string(32, fill));
  }
  void SendBytes(StreamId stream, const std::string& bytes, uint32_t attempt = 0) {
    enrol::v1::Message message;
    message.set_attempt(attempt == 0 ? relay_->record().invitation().attempts() : attempt);
    message.set_message(bytes);
    Apply(relay_->TakeMessage(stream, message, now_));
  }
  void Send(StreamId stream, Role sender, int step, char fill = 'x') {
    SendBytes(stream, Bytes(sender, step, 0, fill));
  }

  // Both are there: an attempt.
  void Begin() {
    claimer_ = Hello(Claimer(), 'c');
    greeter_ = Hello(Greeter("alice"), 'g');
  }
  // The honest exchange, up to and with this step.
  void ExchangeUpTo(int last) {
    if (!relay_->record().has_attempt()) Begin();
    for (int step = 0; step <= last; ++step) {
      if (sas::SpeaksAt(Role::kGreeter, step)) Send(greeter_, Role::kGreeter, step);
      if (sas::SpeaksAt(Role::kClaimer, step)) Send(claimer_, Role::kClaimer, step);
    }
  }
  void Stop(StreamId stream, const CallingParty& who, uint32_t attempt, bool suspected,
            const std::string& reason = "SAS_MAC") {
    enrol::v1::Stop stop;
    stop.set_attempt(attempt);
    stop.set_reason(reason);
    stop.set_sentence("it ended");
    stop.set_suspected(suspected);
    Apply(relay_->Stop(stream, who, stop, now_));
  }
  void Advance(absl::Duration by) {
    now_ += by;
    Apply(relay_->AdvanceTime(now_));
  }
  void Done(uint32_t attempt) {
    enrol::v1::Done done;
    done.set_attempt(attempt);
    Apply(relay_->Done(greeter_, done));
  }

  // The messages that a stream was given, as steps: "0 1 3".
  std::string Delivered(StreamId stream) {
    std::string steps;
    for (const ExchangeResponse& response : told_[stream]) {
      if (response.has_message()) absl::StrAppend(&steps, static_cast<int>(response.message().message()[3]), " ");
    }
    return steps;
  }
  Ended LastEnded(StreamId stream) {
    for (auto response = told_[stream].rbegin(); response != told_[stream].rend(); ++response) {
      if (response->has_ended()) return response->ended();
    }
    return Ended();
  }
  enrol::v1::State LastState(StreamId stream) {
    for (auto response = told_[stream].rbegin(); response != told_[stream].rend(); ++response) {
      if (response->has_state()) return response->state();
    }
    return enrol::v1::State();
  }
  bool Happened(const std::string& event) const {
    return std::find(events_.begin(), events_.end(), event) != events_.end();
  }
  Invitation::State state() const { return stored_.invitation().state(); }

  absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
  Leases leases_;
  InvitationRecord stored_;
  Steps stored_steps_;
  std::optional<ExchangeRules> relay_;
  StreamId streams_ = 0;
  StreamId greeter_ = 0;
  StreamId claimer_ = 0;
  bool ended_ = false;
  std::map<StreamId, std::vector<ExchangeResponse>> told_;
  std::map<StreamId, std::string> refused_;
  std::vector<std::string> events_;
};

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
  EXPECT_TRUE(ended_);
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
  EXPECT_TRUE(ended_);
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

// --- Ends, suspicion and locking -------------------------------------------------------------------------------------

TEST_F(RelayTest, AStopTellsTheOtherSideWhy) {
  ExchangeUpTo(1);
  Stop(claimer_, Claimer(), 1, false, "SAS_STOPPED");
  EXPECT_EQ(LastEnded(greeter_).reason(), "PEER_STOPPED");
  EXPECT_EQ(LastEnded(greeter_).peer_reason(), "SAS_STOPPED");
  EXPECT_EQ(LastEnded(greeter_).sentence(), "it ended");
  EXPECT_FALSE(LastEnded(greeter_).over());
  EXPECT_EQ(LastEnded(claimer_).reason(), "STOPPED");
  EXPECT_TRUE(Happened("invitee/aaaa enrolment.side_ended SAS_STOPPED"));
}

TEST_F(RelayTest, ThreeSuspectedAttemptsLockTheInvitation) {
  for (int i = 1; i <= 3; ++i) {
    ExchangeUpTo(3);
    Stop(greeter_, Greeter("alice"), i, true, "SAS_COMMITMENT");
    EXPECT_EQ(LastEnded(claimer_).suspected_attempts(), static_cast<uint32_t>(i));
    EXPECT_EQ(LastEnded(claimer_).over(), i == 3);
  }
  EXPECT_EQ(state(), Invitation::STATE_LOCKED);
  EXPECT_TRUE(ended_);
  EXPECT_EQ(refused_[Hello(Greeter("alice"), 'g')], "INVITATION_LOCKED");
  EXPECT_TRUE(Happened("admin/alice invitation.locked ok"));
}

TEST_F(RelayTest, AnAttemptIsSuspectedOnceHoweverManyReportIt) {
  ExchangeUpTo(3);
  Stop(greeter_, Greeter("alice"), 1, true);
  Stop(claimer_, Claimer(), 1, true);
  Stop(claimer_, Claimer(), 1, true);
  EXPECT_EQ(stored_.invitation().suspected_attempts(), 1u);
  EXPECT_EQ(state(), Invitation::STATE_PENDING);
}

TEST_F(RelayTest, WhatASideReportsLaterCountsToo) {
  for (uint32_t i = 1; i <= 3; ++i) {
    Begin();
    Stop(greeter_, Greeter("alice"), i, false);
    EXPECT_EQ(state(), Invitation::STATE_PENDING);
    Stop(claimer_, Claimer(), i, true);
  }
  EXPECT_EQ(state(), Invitation::STATE_LOCKED);
}

TEST_F(RelayTest, AStopOfAnAttemptThatNeverWasIsRefused) {
  Begin();
  Stop(claimer_, Claimer(), 7, true);
  EXPECT_EQ(refused_[claimer_], "ATTEMPT_UNKNOWN");
  EXPECT_FALSE(LastState(greeter_).peer_connected()) << "its place is free";
  Stop(greeter_, Greeter("alice"), 1, false, "lower case");
  EXPECT_EQ(refused_[greeter_], "STOP_MALFORMED");
}

TEST_F(RelayTest, CancelingEndsAnExchangeForBoth) {
  ExchangeUpTo(2);
  Apply(*relay_->Cancel("admin/anna", "wrong person", now_));
  for (const StreamId stream : {greeter_, claimer_}) {
    EXPECT_EQ(LastEnded(stream).reason(), "INVITATION_CANCELED");
    EXPECT_EQ(LastEnded(stream).sentence(), "wrong person");
    EXPECT_TRUE(LastEnded(stream).over());
    EXPECT_TRUE(LastEnded(stream).suspected()) << "a nonce was out";
  }
  EXPECT_EQ(state(), Invitation::STATE_CANCELED);
  EXPECT_TRUE(relay_->Cancel("admin/anna", "", now_).ok()) << "again";
}

TEST_F(RelayTest, WhoWaitsHearsOfTheEnd) {
  const StreamId claimer = Hello(Claimer(), 'c');
  Apply(*relay_->Cancel("admin/anna", "", now_));
  EXPECT_EQ(LastEnded(claimer).reason(), "INVITATION_CANCELED");
  EXPECT_EQ(LastEnded(claimer).attempt(), 0u);
  EXPECT_TRUE(relay_->idle());
}

TEST_F(RelayTest, ExpiryEndsWhateverGoesOn) {
  ExchangeUpTo(3);
  now_ = ToTime(stored_.invitation().expire_time());
  Apply(relay_->AdvanceTime(now_));
  EXPECT_EQ(LastEnded(greeter_).reason(), "INVITATION_EXPIRED");
  EXPECT_EQ(state(), Invitation::STATE_EXPIRED);
  EXPECT_TRUE(ended_);
  EXPECT_TRUE(Happened(" invitation.expired ok"));
}

TEST_F(RelayTest, RefusesAMalformedHello) {
  enrol::v1::Hello hello;
  hello.set_instance("short");
  Apply(relay_->Hello(9, Claimer(), hello, now_));
  EXPECT_EQ(refused_[9], "HELLO_MALFORMED");
}

// --- Whatever happens ------------------------------------------------------------------------------------------------

// What holds after every event: all that the relay knows beyond its streams is stored, messages come in order and
// once, and an invitation whose step 7 was passed on has no further attempt.
class AnyOrderTest : public RelayTest {
 protected:
  void CheckInvariants() {
    ASSERT_EQ(stored_.SerializeAsString(), relay_->record().SerializeAsString());
    ASSERT_EQ(stored_steps_.size(), relay_->steps().size());
    if (relay_->pending()) ASSERT_LT(relay_->Deadline(), absl::InfiniteFuture());
    for (const auto& [stream, responses] : told_) {
      int last = -1;
      uint32_t attempt = 0;
      for (const ExchangeResponse& response : responses) {
        if (response.has_state()) {
          // A hello on the same stream gives again what was asked for.
          last = -1;
          attempt = response.state().attempt();
        }
        if (!response.has_message()) continue;
        ASSERT_EQ(response.message().attempt(), attempt);
        const int step = response.message().message()[3];
        ASSERT_GT(step, last) << "stream " << stream;
        last = step;
      }
    }
    if (stored_steps_.count({7, Role::kGreeter}) > 0) spent_ = stored_.invitation().attempts();
    if (spent_ > 0) ASSERT_EQ(stored_.invitation().attempts(), spent_);
    if (state() == Invitation::STATE_COMPLETED) completed_ = true;
    if (completed_) ASSERT_EQ(state(), Invitation::STATE_COMPLETED);
  }

  uint32_t Below(uint32_t bound) {
    // As in lib/sas/testing.h: the same on every machine.
    uint64_t z = seed_ += 0x9E3779B97F4A7C15;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return static_cast<uint32_t>((z ^ z >> 31) >> 8) % bound;
  }

  // Mostly what honest sides do, so that exchanges get far.
  void Act() {
    const uint32_t attempts = relay_->record().invitation().attempts();
    const StreamId any = streams_ == 0 ? 1 : streams_ - Below(std::min<uint32_t>(4, streams_));
    switch (Below(24)) {
      case 0:
        greeter_ = Hello(Greeter(Below(4) == 0 ? "anna" : "alice"), Below(4) == 0 ? 'h' : 'g');
        return;
      case 1:
        claimer_ = Hello(Claimer(), Below(4) == 0 ? 'd' : 'c');
        return;
      case 2:
        greeter_ = Hello(Greeter("alice"), 'g', attempts - (attempts > 0 ? Below(2) : 0), Below(9));
        return;
      case 3:
        claimer_ = Hello(Claimer(), 'c', attempts, Below(9));
        return;
      case 4:
        return Apply(relay_->Gone(any, now_));
      case 5:
        if (attempts > 0) Stop(any, Below(2) == 0 ? Greeter("alice") : Claimer(), 1 + Below(attempts), Below(3) == 0);
        return;
      case 6:
        return Advance(absl::Seconds(Below(200)));
      case 7:
        Restart();
        told_.clear();
        return;
      case 8:
        return Done(attempts);
      case 9:
        if (attempts > 0) SendBytes(any, Bytes(Below(2) == 0 ? Role::kGreeter : Role::kClaimer, Below(9)));
        return;
      default:
        break;
    }
    if (!relay_->record().has_attempt()) return Begin();
    for (int step = 0; step <= sas::kLastStep; ++step) {
      for (const Role role : {Role::kGreeter, Role::kClaimer}) {
        if (!sas::SpeaksAt(role, step) || relay_->steps().count({step, role}) > 0) continue;
        return Send(role == Role::kGreeter ? greeter_ : claimer_, role, step);
      }
    }
  }

  uint64_t seed_ = 20261122;
  uint32_t spent_ = 0;
  bool completed_ = false;
};

TEST_F(AnyOrderTest, TheRulesHold) {
  const InvitationRecord fresh = stored_;
  std::map<Invitation::State, int> ends;
  for (int run = 0; run < 2000; ++run) {
    stored_ = fresh;
    stored_steps_.clear();
    told_.clear();
    spent_ = 0;
    completed_ = false;
    streams_ = greeter_ = claimer_ = 0;
    now_ = absl::FromUnixSeconds(1'700'000'000);
    Restart();
    for (int i = 0; i < 60; ++i) {
      Act();
      CheckInvariants();
      if (HasFatalFailure()) return;
    }
    ++ends[state()];
  }
  // The runs went everywhere.
  for (const auto state :
       {Invitation::STATE_PENDING, Invitation::STATE_COMPLETED, Invitation::STATE_LOCKED, Invitation::STATE_CLOSED}) {
    EXPECT_GT(ends[state], 20) << Invitation::State_Name(state);
  }
}

}  // namespace
}  // namespace parley::enrolld
