// Enrolments through two enrollds on one store: wherever each side is connected, and whichever of them ends.
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/crypto/kdf.h"
#include "services/enrolld/testing/replica_testing.h"
#include "services/enrolld/testing/two_sides_test.h"

namespace parley::enrolld {
namespace {

using enrol::v1::State;
using Stub = InvitationService::Stub;

class ReplicasTest : public ReplicaTest, protected TwoSides {
 protected:
  void TearDown() override {
    greeter_.reset();
    claimer_.reset();
  }
  void ConnectGreeter(int replica) {
    greeting_ = AdminAt(replica);
    greeter_->Connect(greeting_.get());
  }
  void ConnectClaimer(int replica) {
    claiming_ = ClaimerAt(replica, invited_);
    claimer_->Connect(claiming_.get());
  }
  // Invites at one and begins an attempt.
  void Begin(int greeter_at, int claimer_at) {
    invited_ = InviteAt(0, "bob");
    name_ = invited_.invitation().name();
    greeter_.reset();
    claimer_.reset();
    Meet(name_);
    ConnectClaimer(claimer_at);
    ConnectGreeter(greeter_at);
    claimer_->Begin();
    greeter_->Begin();
  }
  void Moves(int from, int to) {
    for (int move = from; move < to; ++move) {
      SCOPED_TRACE(move);
      Move(move);
    }
  }
  void WaitForState(int replica, Invitation::State state) {
    while (GetAt(replica, name_).state() != state) {
    }
  }

  CreateInvitationResponse invited_;
  std::string name_;
  std::unique_ptr<EnrolldTestClient> greeting_;
  std::unique_ptr<EnrolldTestClient> claiming_;
};

TEST_F(ReplicasTest, BothSidesMeetWhereverTheyAreConnected) {
  int enrolments = 0;
  for (const int greeter_at : {0, 1}) {
    for (const int claimer_at : {0, 1}) {
      SCOPED_TRACE(absl::StrCat(greeter_at, claimer_at));
      Begin(greeter_at, claimer_at);
      Moves(0, kMoves);
      EXPECT_EQ(claimer_->stream().ReadEnded().reason(), "INVITATION_COMPLETED");
      EXPECT_TRUE(greeter_->stream().Finish().ok());
      for (const int replica : {0, 1}) {
        EXPECT_EQ(GetAt(replica, name_).state(), Invitation::STATE_COMPLETED);
        EXPECT_EQ(GetAt(replica, name_).attempts(), 1u);
      }
      ++enrolments;
      EXPECT_EQ(Audited("enrolment.attempt_begun"), enrolments);
      EXPECT_EQ(Audited("invitation.completed"), enrolments);
    }
  }
}

// One enrolld after the other is killed, at each step; who was there goes on at the other one.
TEST_F(ReplicasTest, AKillAtAnyStepLosesNothing) {
  Begin(0, 1);
  for (int move = 0; move < kMoves; ++move) {
    SCOPED_TRACE(move);
    const int killed = move % 2;
    replicas_[killed]->Kill();
    const int left = 1 - killed;
    if (killed == 0) ConnectGreeter(left);
    // Once step 8 was taken the invitee's key opens nothing: the claimer is through.
    if (killed == 1 && GetAt(left, name_).state() == Invitation::STATE_PENDING) ConnectClaimer(left);
    Move(move);
    replicas_[killed]->EndLease();
    replicas_[killed]->Start();
    if (move + 1 == kMoves) break;
    // Apart again.
    if (killed == 0) ConnectGreeter(killed);
    if (killed == 1 && GetAt(left, name_).state() == Invitation::STATE_PENDING) ConnectClaimer(killed);
  }
  EXPECT_EQ(GetAt(0, name_).state(), Invitation::STATE_COMPLETED);
  EXPECT_EQ(GetAt(0, name_).attempts(), 1u);
  EXPECT_EQ(GetAt(0, name_).suspected_attempts(), 0u);
}

}  // namespace
}  // namespace parley::enrolld
