// Enrolments through two enrollds on one store: wherever each side is connected, and whichever of them ends.
#include <algorithm>
#include <atomic>
#include <map>
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

// --- Who comes, and comes twice --------------------------------------------------------------------------------------

class Party {
 public:
  Party(std::unique_ptr<EnrolldTestClient> client, const std::string& invitation, char instance)
      : client_(std::move(client)), stream_(client_.get(), invitation, instance) {}
  TestStream* operator->() { return &stream_; }

 private:
  const std::unique_ptr<EnrolldTestClient> client_;
  TestStream stream_;
};

class PartiesTest : public ReplicasTest {
 protected:
  void SetUp() override {
    invited_ = InviteAt(0, "bob");
    name_ = invited_.invitation().name();
  }
  std::unique_ptr<Party> GreeterAt(int replica, char instance = 'g', const std::string& user = "alice") {
    return std::make_unique<Party>(replicas_[replica]->Connect(Mint(access::v1::ROLE_ADMIN, user)), name_, instance);
  }
  std::unique_ptr<Party> ClaimerAt(int replica, char instance = 'c') {
    return std::make_unique<Party>(ReplicaTest::ClaimerAt(replica, invited_), name_, instance);
  }
  std::string Bytes(sas::Role sender, int step, uint32_t attempt, char fill = 'x') {
    const sas::Context context = {"Example", name_.substr(12), attempt, sas::Kind::kUser};
    return absl::StrCat(sas::EncodeHeader(context, sender, step), std::string(32, fill));
  }
  // The number of the attempt that begins for a stream; 0 when it ends instead.
  static uint32_t Begun(Party* party) {
    while (true) {
      const State state = (*party)->ReadState();
      if (state.phase() != State::PHASE_WAITING) return state.attempt();
    }
  }
  // How the server ends a stream.
  static absl::Status EndOf(Party* party) {
    while ((*party)->Read().response_case() != 0) {
    }
    return (*party)->Finish();
  }
  void Wait(Party* party) {
    (*party)->Hello();
    EXPECT_EQ((*party)->ReadState().phase(), State::PHASE_WAITING);
  }
};

TEST_F(PartiesTest, WhoWaitsIsSeenAtBoth) {
  const auto claimer = ClaimerAt(0);
  Wait(claimer.get());
  EXPECT_TRUE(GetAt(1, name_).claimer_waiting());
  const auto greeter = GreeterAt(1);
  (*greeter)->Hello();
  EXPECT_EQ(Begun(greeter.get()), 1u);
  EXPECT_EQ(GetAt(0, name_).greeter(), "admin/alice");
}

TEST_F(PartiesTest, TheSameOneAtTheOtherTakesItsOwnPlace) {
  const auto first = ClaimerAt(0);
  Wait(first.get());
  const auto second = ClaimerAt(1);
  Wait(second.get());
  EXPECT_EQ(Reason(EndOf(first.get())), "STREAM_REPLACED");
  const auto greeter = GreeterAt(0);
  (*greeter)->Hello();
  EXPECT_EQ(Begun(second.get()), 1u);
  EXPECT_EQ(Begun(greeter.get()), 1u);
  // In the attempt, too. The older stream has no say any more.
  const auto third = ClaimerAt(0);
  (*third)->Hello(1, 0);
  EXPECT_EQ(Begun(third.get()), 1u);
  (*second)->Send(1, Bytes(sas::Role::kClaimer, 0, 1, 'y'));
  EXPECT_EQ(Reason(EndOf(second.get())), "STREAM_REPLACED");
  (*third)->Send(1, Bytes(sas::Role::kClaimer, 0, 1, 'x'));
  EXPECT_EQ((*greeter)->ReadMessage(), Bytes(sas::Role::kClaimer, 0, 1, 'x'));
}

TEST_F(PartiesTest, AnotherClaimerAtTheOtherEndsTheAttemptForAll) {
  const auto waiting = ClaimerAt(0, 'a');
  Wait(waiting.get());
  const auto first = ClaimerAt(1, 'b');
  Wait(first.get());
  EXPECT_EQ(Reason(EndOf(waiting.get())), "CLAIMER_REPLACED");
  const auto greeter = GreeterAt(0);
  (*greeter)->Hello();
  EXPECT_EQ(Begun(greeter.get()), 1u);
  EXPECT_EQ(Begun(first.get()), 1u);
  const auto second = ClaimerAt(0, 'c');
  Wait(second.get());
  EXPECT_EQ((*first)->ReadEnded().reason(), "SECOND_CLAIMER");
  EXPECT_EQ((*greeter)->ReadEnded().reason(), "SECOND_CLAIMER");
  EXPECT_EQ(Audited("enrolment.attempt_ended"), 1);
}

TEST_F(PartiesTest, ASecondGreeterAtTheOtherIsRefused) {
  const auto first = GreeterAt(0);
  Wait(first.get());
  const auto second = GreeterAt(1, 'h', "anna");
  (*second)->Hello();
  EXPECT_EQ(Reason(EndOf(second.get())), "GREETER_BUSY");
}

TEST_F(PartiesTest, ASecondClaimerAtTheOtherIsTurnedAwayAfterTheCodes) {
  Begin(0, 1);
  Moves(0, 8);
  const auto second = ClaimerAt(0, 'd');
  (*second)->Hello();
  EXPECT_EQ(Reason(EndOf(second.get())), "CLAIMER_BUSY");
  Moves(8, kMoves);
}

TEST_F(PartiesTest, WhoLosesItsProcessIsMissed) {
  const auto claimer = ClaimerAt(1);
  Wait(claimer.get());
  const auto greeter = GreeterAt(0);
  (*greeter)->Hello();
  EXPECT_TRUE((*greeter)->ReadState().peer_connected());
  replicas_[1]->Kill();
  replicas_[1]->EndLease();
  // Whoever asks makes it known no earlier than the greeter is told.
  (void)GetAt(0, name_);
  EXPECT_FALSE((*greeter)->ReadState().peer_connected());
  clock_.Advance(absl::Minutes(2));
  EXPECT_EQ((*greeter)->ReadEnded().reason(), "PEER_AWAY");
  EXPECT_EQ(Audited("enrolment.attempt_ended"), 1);
}

TEST_F(PartiesTest, AProcessThatEndsInOrderLetsGoAtOnce) {
  const auto claimer = ClaimerAt(1);
  Wait(claimer.get());
  const auto greeter = GreeterAt(0);
  (*greeter)->Hello();
  EXPECT_TRUE((*greeter)->ReadState().peer_connected());
  replicas_[1]->Stop();
  EXPECT_EQ(Reason(EndOf(claimer.get())), "SERVER_STOPPING");
  EXPECT_FALSE((*greeter)->ReadState().peer_connected());
}

// --- Attacks ---------------------------------------------------------------------------------------------------------

// Whoever has the link claims at both at once: no attempt begins twice, and none is one that is not counted.
TEST_F(PartiesTest, TwoAtOnceGetNoAttemptMoreThanOneAfterAnother) {
  for (int round = 0; round < 10; ++round) {
    SCOPED_TRACE(round);
    SetUp();
    const int audited = Audited("enrolment.attempt_begun");
    const auto greeter = GreeterAt(round % 2);
    Wait(greeter.get());
    const std::vector<std::unique_ptr<Party>> claimers = [&] {
      std::vector<std::unique_ptr<Party>> both;
      both.push_back(ClaimerAt(0, 'c'));
      both.push_back(ClaimerAt(1, 'd'));
      return both;
    }();
    std::vector<std::thread> threads;
    for (const auto& claimer : claimers) threads.emplace_back([&] { (*claimer)->Hello(); });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(Begun(greeter.get()), 1u);
    // The other one has ended it since: as when both come to one process.
    EXPECT_EQ((*greeter)->ReadEnded().reason(), "SECOND_CLAIMER");
    EXPECT_EQ(GetAt(0, name_).attempts(), 1u);
    EXPECT_EQ(Audited("enrolment.attempt_begun") - audited, 1);
  }
}

TEST_F(PartiesTest, SuspicionIsCountedOnceWhereverItIsReported) {
  auto greeter = GreeterAt(0);
  auto claimer = ClaimerAt(1);
  for (uint32_t attempt = 1; attempt <= 3; ++attempt) {
    SCOPED_TRACE(attempt);
    (*claimer)->Hello();
    (*greeter)->Hello();
    ASSERT_EQ(Begun(greeter.get()), attempt);
    ASSERT_EQ(Begun(claimer.get()), attempt);
    std::thread at_one([&] { (*claimer)->Stop(attempt, "SAS_MAC", true); });
    (*greeter)->Stop(attempt, "SAS_COMMITMENT", true);
    at_one.join();
    for (Party* const party : {greeter.get(), claimer.get()}) {
      const Ended ended = (*party)->ReadEnded();
      EXPECT_TRUE(ended.suspected());
      EXPECT_EQ(ended.suspected_attempts(), attempt);
      EXPECT_EQ(ended.over(), attempt == 3);
    }
    while (Audited("enrolment.side_ended") < 2 * static_cast<int>(attempt)) {
    }
    for (const int replica : {0, 1}) EXPECT_EQ(GetAt(replica, name_).suspected_attempts(), attempt);
  }
  EXPECT_EQ(GetAt(0, name_).state(), Invitation::STATE_LOCKED);
  EXPECT_EQ(Audited("invitation.locked"), 1);
  EXPECT_EQ(Audited("enrolment.attempt_ended"), 3);
  for (const int replica : {0, 1}) {
    const auto again = GreeterAt(replica);
    (*again)->Hello();
    EXPECT_EQ(Reason(EndOf(again.get())), "INVITATION_LOCKED");
  }
}

// Two messages for one step, at both at the same time: one is taken, and the other one ends the attempt or comes from a
// stream that has no say. Never do both reach the greeter.
TEST_F(PartiesTest, AStepIsTakenOnce) {
  for (int round = 0; round < 10; ++round) {
    SCOPED_TRACE(round);
    SetUp();
    const auto greeter = GreeterAt(0);
    const auto first = ClaimerAt(0);
    Wait(first.get());
    (*greeter)->Hello();
    ASSERT_EQ(Begun(greeter.get()), 1u);
    ASSERT_EQ(Begun(first.get()), 1u);
    const auto second = ClaimerAt(1);
    std::thread at_one([&] {
      (*second)->Hello(1, 0);
      (*second)->Send(1, Bytes(sas::Role::kClaimer, 0, 1, 'y'));
    });
    (*first)->Send(1, Bytes(sas::Role::kClaimer, 0, 1, 'x'));
    at_one.join();
    int messages = 0;
    while (true) {
      const ExchangeResponse response = (*greeter)->Read();
      messages += response.has_message() ? 1 : 0;
      // Only the second message was taken: this asks for what follows.
      if (response.has_message() && response.message().message() == Bytes(sas::Role::kClaimer, 0, 1, 'y')) break;
      if (response.has_ended() || response.response_case() == 0) break;
    }
    EXPECT_EQ(messages, 1);
  }
}

// --- Time ------------------------------------------------------------------------------------------------------------

TEST_F(PartiesTest, WhatIsDueIsDoneOnce) {
  const auto greeter = GreeterAt(0);
  Wait(greeter.get());
  const auto claimer = ClaimerAt(1);
  (*claimer)->Hello();
  ASSERT_EQ(Begun(claimer.get()), 1u);
  // Both know of it by then.
  ASSERT_EQ(Begun(greeter.get()), 1u);
  clock_.Advance(absl::Minutes(5));
  EXPECT_EQ((*greeter)->ReadEnded().reason(), "OUT_OF_TIME");
  EXPECT_EQ((*claimer)->ReadEnded().reason(), "OUT_OF_TIME");
  Wait(greeter.get());
  clock_.Advance(absl::Hours(1));
  EXPECT_EQ(Reason(EndOf(greeter.get())), "WAIT_OVER");
  clock_.Advance(absl::Hours(48));
  WaitForState(0, Invitation::STATE_EXPIRED);
  // Whatever either of them still does has been done when it has ended.
  for (auto& replica : replicas_) replica->Stop();
  EXPECT_EQ(Audited("enrolment.attempt_ended"), 1);
  EXPECT_EQ(Audited("invitation.expired"), 1);
}

// --- Ends ------------------------------------------------------------------------------------------------------------

TEST_F(PartiesTest, AnEndHoldsEverywhereWhenItIsAcknowledged) {
  const auto claimer = ClaimerAt(1);
  Wait(claimer.get());
  enrol::v1::CancelInvitationRequest request;
  request.set_name(name_);
  ASSERT_TRUE(AdminAt(0)->Call(&Stub::CancelInvitation, request).ok());
  EXPECT_EQ((*claimer)->ReadEnded().reason(), "INVITATION_CANCELED");
  // Where no claimer has to hear of it, nobody passes the door from then on.
  const auto again = ClaimerAt(0);
  (*again)->Hello();
  EXPECT_EQ(Reason(EndOf(again.get())), "KEY_REFUSED");
  // And there, once it has heard.
  clock_.Advance(absl::Seconds(3));
  absl::Status refused;
  do {
    const auto other = ClaimerAt(1, 'd');
    (*other)->Hello();
    refused = EndOf(other.get());
    ASSERT_FALSE(refused.ok());
  } while (Reason(refused) != "KEY_REFUSED");
  EXPECT_EQ(Audited("invitation.canceled"), 1);
}

TEST_F(PartiesTest, AnAcknowledgedEndOpensNothingAnywhere) {
  for (int round = 0; round < 10; ++round) {
    SetUp();
    enrol::v1::CancelInvitationRequest request;
    request.set_name(name_);
    ASSERT_TRUE(AdminAt(round % 2)->Call(&Stub::CancelInvitation, request).ok());
    const auto claimer = ClaimerAt(1 - round % 2);
    (*claimer)->Hello();
    EXPECT_EQ(Reason(EndOf(claimer.get())), "KEY_REFUSED");
  }
}

TEST_F(PartiesTest, AnEndIsNotAcknowledgedBeforeTheLeaseOfWhoIsCutOffHasEnded) {
  replicas_[1]->store().CutOff(true);
  enrol::v1::CancelInvitationRequest request;
  request.set_name(name_);
  std::atomic<bool> answered = false;
  std::thread canceling([&] {
    EXPECT_TRUE(AdminAt(0)->Call(&Stub::CancelInvitation, request).ok());
    answered = true;
  });
  WaitForState(0, Invitation::STATE_CANCELED);
  // Far longer than an answer would take.
  for (int i = 0; i < 50; ++i) (void)GetAt(0, name_);
  EXPECT_FALSE(answered);
  replicas_[1]->EndLease();
  canceling.join();
  replicas_[1]->store().CutOff(false);
}

TEST_F(PartiesTest, WhatDependsOnARevokedCredentialEndsOnce) {
  const std::string serial = crypto::RandomBytes(keys::kSerialBytes);
  const keys::Keyring::Minted key = MintAgain(access::v1::ROLE_ADMIN, "carol", serial, absl::Hours(2));
  const auto carol = replicas_[0]->Connect(key);
  std::vector<std::string> names;
  for (const char* const user : {"bob", "eve", "dan"}) {
    names.push_back(carol->Call(&Stub::CreateInvitation, NewUser(user))->invitation().name());
  }
  // keyd tells both.
  for (auto& replica : replicas_) {
    replica->enrolld().ended_credentials().OnRevoked(serial, clock_.Now() + absl::Hours(2));
  }
  for (auto& replica : replicas_) EXPECT_EQ(replica->enrolld().ended_credentials().CatchUp(), absl::OkStatus());
  for (const std::string& name : names) {
    for (const int replica : {0, 1}) EXPECT_EQ(GetAt(replica, name).state(), Invitation::STATE_CANCELED);
  }
  EXPECT_EQ(Audited("invitation.canceled"), 3);
  enrol::v1::AwaitEndedInvitationsRequest request;
  request.add_credentials(absl::StrCat("credentials/", HexEncode(serial)));
  for (const int replica : {0, 1}) {
    const auto counted = AdminAt(replica)->Call(&Stub::AwaitEndedInvitations, request);
    ASSERT_TRUE(counted.ok()) << counted.status();
    EXPECT_EQ(counted->invitations(), 3);
  }
  EXPECT_EQ(Reason(replicas_[1]->Connect(key)->Call(&Stub::CreateInvitation, NewUser("late")).status()), "KEY_REVOKED");
}

// --- A lease that is lost --------------------------------------------------------------------------------------------

TEST_F(PartiesTest, WhoIsCutOffSendsItsPartiesAwayAndComesBack) {
  replicas_[1]->Stop();
  replicas_[1]->ttl_ = absl::Seconds(1);
  replicas_[1]->Start();
  Begin(0, 1);
  Moves(0, 2);
  replicas_[1]->store().CutOff(true);
  while (replicas_[1]->replicas().CheckHeld().ok()) {
  }
  enrol::v1::GetInvitationRequest request;
  request.set_name(name_);
  EXPECT_EQ(Reason(AdminAt(1)->Call(&Stub::GetInvitation, request).status()), "REPLICA_CUT_OFF");
  replicas_[1]->store().CutOff(false);
  while (claimer_->stream().Read().response_case() != 0) {
  }
  EXPECT_TRUE(absl::IsUnavailable(claimer_->stream().Finish()));
  while (!replicas_[1]->replicas().CheckHeld().ok()) {
  }
  ConnectClaimer(1);
  Moves(2, kMoves);
  EXPECT_EQ(GetAt(0, name_).attempts(), 1u);
}

// --- Requests --------------------------------------------------------------------------------------------------------

TEST_F(PartiesTest, TheSameRequestAtBothMakesOneInvitation) {
  const int before = Audited("invitation.created");
  for (int round = 0; round < 5; ++round) {
    const CreateInvitationRequest request = NewUser("eve");
    CreateInvitationResponse at[2];
    std::thread other([&] { at[1] = InviteAt(1, request); });
    at[0] = InviteAt(0, request);
    other.join();
    EXPECT_EQ(at[0].invitation().name(), at[1].invitation().name());
    EXPECT_EQ(Audited("invitation.created") - before, round + 1);
  }
}

// --- What one commit takes -------------------------------------------------------------------------------------------

// What is written when the largest messages go to the other process is far from what a store takes at once.
TEST_F(PartiesTest, EachCommitIsSmall) {
  constexpr size_t kMostBytes = 65'536;
  Begin(0, 1);
  Moves(0, 7);
  claimer_->Receive();
  claimer_->Say(std::string(kMostBytes, 'n'));
  greeter_->Receive();
  EXPECT_EQ(greeter_->exchange().payload().Expose().size(), kMostBytes);
  greeter_->Say(std::string(kMostBytes, 'e'));
  claimer_->Receive();
  claimer_->Say(std::string(kMostBytes, 's'));
  greeter_->Receive();
  greeter_->stream().Done(greeter_->attempt());
  EXPECT_EQ(greeter_->stream().ReadEnded().reason(), "INVITATION_COMPLETED");
  std::map<int64_t, std::pair<size_t, size_t>> commits;
  Mutex mutex;
  CondVar changed;
  int64_t seen = 0;
  const int64_t last = *stored_->Commit(store::Transaction().Set("last", ""));
  const auto watch = stored_->WatchRange(store::KeyRange(), 0, [&](auto changes, int64_t revision) {
    MutexLock lock(&mutex);
    for (const store::Change& change : *changes) {
      auto& [operations, bytes] = commits[change.mod_revision];
      ++operations;
      bytes += change.key.size() + change.value.value_or("").size();
    }
    seen = revision;
    changed.NotifyAll();
  });
  MutexLock lock(&mutex);
  while (seen < last) changed.Wait(&mutex);
  size_t largest = 0;
  for (const auto& [revision, commit] : commits) {
    EXPECT_LE(commit.first, 20u);
    EXPECT_LE(commit.second, 2 * kMostBytes + 10'000);
    largest = std::max(largest, commit.second);
  }
  EXPECT_GE(largest, 2 * kMostBytes) << "a message is written for the step and for the other process";
}

// --- Mail ------------------------------------------------------------------------------------------------------------

class SharedMailTest : public PartiesTest {
 protected:
  CreateInvitationResponse InviteByMail(int replica) {
    CreateInvitationRequest request = NewUser("bob");
    request.set_email("bob@example.org");
    return InviteAt(replica, request);
  }
  int tries() { return replicas_[0]->mailer_.tries() + replicas_[1]->mailer_.tries(); }
  enrol::v1::Mail WaitForMail(const std::string& name, int tries) {
    while (GetAt(0, name).mail().tries() < tries) {
    }
    return GetAt(1, name).mail();
  }
};

TEST_F(SharedMailTest, IsSentByOne) {
  std::vector<std::string> names;
  for (int i = 0; i < 10; ++i) names.push_back(InviteByMail(i % 2).invitation().name());
  for (const std::string& name : names) EXPECT_EQ(WaitForMail(name, 1).state(), enrol::v1::Mail::STATE_SENT);
  for (auto& replica : replicas_) replica->Stop();
  EXPECT_EQ(tries(), 10);
  EXPECT_EQ(Audited("invitation.mailed"), 10);
  EXPECT_TRUE(stored_->List(store::KeyRange::Prefix("n/"))->entries.empty()) << "what was claimed is released";
}

TEST_F(SharedMailTest, IsTriedAgainByOne) {
  for (auto& replica : replicas_) {
    replica->mailer_.AnswerWith(Error(absl::StatusCode::kUnavailable, "MAIL_SERVER_UNAVAILABLE", "busy"));
  }
  const std::string name = InviteByMail(0).invitation().name();
  for (int again = 1; again <= 3; ++again) {
    EXPECT_EQ(WaitForMail(name, again).state(), enrol::v1::Mail::STATE_QUEUED);
    clock_.Advance(absl::Minutes(30));
  }
  WaitForMail(name, 4);
  for (auto& replica : replicas_) replica->Stop();
  EXPECT_EQ(tries(), 4);
}

TEST_F(SharedMailTest, IsSentByTheOtherWhenItsSenderHasEnded) {
  replicas_[0]->mailer_.Hold();
  replicas_[1]->mailer_.Hold();
  const std::string name = InviteByMail(0).invitation().name();
  while (tries() == 0) {
  }
  const int sender = replicas_[0]->mailer_.tries() > 0 ? 0 : 1;
  // It takes the mail, and nothing of that is stored.
  replicas_[sender]->store().CutOff(true);
  replicas_[sender]->mailer_.Release();
  replicas_[1 - sender]->mailer_.Release();
  replicas_[sender]->Kill();
  EXPECT_EQ(replicas_[1 - sender]->mailer_.tries(), 0) << "the lease holds";
  replicas_[sender]->EndLease();
  while (GetAt(1 - sender, name).mail().state() != enrol::v1::Mail::STATE_SENT) {
  }
  EXPECT_EQ(replicas_[1 - sender]->mailer_.tries(), 1);
}

}  // namespace
}  // namespace parley::enrolld
