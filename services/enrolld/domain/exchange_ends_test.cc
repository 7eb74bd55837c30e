// How an exchange ends, by whatever happens to it.
#include <map>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "services/enrolld/domain/exchange_rules.h"
#include "services/enrolld/domain/exchange_rules_testing.h"

namespace parley::enrolld {
namespace {

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
  EXPECT_TRUE(Happened(" invitation.expired ok"));
}

TEST_F(RelayTest, RefusesAMalformedHello) {
  enrol::v1::Hello hello;
  hello.set_instance("short");
  Apply(relay_->Hello(9, Claimer(), hello, now_));
  EXPECT_EQ(refused_[9], "HELLO_MALFORMED");
}

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
    // This gives the same on every machine, like lib/sas/testing.h.
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
