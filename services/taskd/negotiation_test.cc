// The negotiation over the wire, and what operators do to it meanwhile.
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/payload/manifest.h"
#include "services/taskd/testing/taskd_testing.h"

namespace parley::taskd {
namespace {

class NegotiationTest : public TaskdTest {
 protected:
  void Open(const task::v1::CreateTaskRequest& request) {
    auto task = Create(request);
    ASSERT_TRUE(task.ok()) << task.status();
    task_ = *std::move(task);
    member_ = Join(task_, "web-1");
    client_ = Connect(member_.key);
  }
  std::unique_ptr<TestNegotiation> Negotiate() {
    return std::make_unique<TestNegotiation>(client_.get(), member_.task);
  }
  Participant::State State() { return GetParticipant(member_.task, "web-1").state(); }

  task::v1::CreateTaskResponse task_;
  JoinedClient member_;
  std::unique_ptr<TaskdTestClient> client_;
};

TEST_F(NegotiationTest, LeadsFromTheOfferToTheConfirmation) {
  Open(NewTask("site"));
  auto negotiation = Negotiate();
  const NegotiateResponse offered = negotiation->Declare();
  ASSERT_EQ(offered.state(), Participant::STATE_OFFERED);
  EXPECT_EQ(offered.offer().deferrals_left(), 3);
  const keys::JoinKey key = ParseJoinKey(task_.join_key().pasted());
  const auto manifest =
      payload::VerifyManifest(offered.offer().manifest(), key.verification_key, member_.task, clock_.Now());
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_EQ(manifest->files(0).path(), "site.conf");
  negotiation->Accept();
  for (const auto state : {Participant::STATE_STAGED, Participant::STATE_APPLYING, Participant::STATE_CHECKING}) {
    EXPECT_EQ(negotiation->Report(state).state(), state);
  }
  EXPECT_EQ(Reason(Confirm(client_.get(), member_.task, manifest->digest()).status()), "SAME_CONNECTION");
  const auto fresh = Connect(member_.key);
  EXPECT_EQ(Reason(Confirm(fresh.get(), member_.task, std::string(32, 'x')).status()), "DIGEST_DIFFERS");
  const auto confirmed = Confirm(fresh.get(), member_.task, manifest->digest());
  ASSERT_TRUE(confirmed.ok()) << confirmed.status();
  EXPECT_EQ(confirmed->state(), Participant::STATE_CONFIRMED);
  EXPECT_EQ(Confirm(fresh.get(), member_.task, manifest->digest())->version(), confirmed->version());
  EXPECT_EQ(negotiation->Read().state(), Participant::STATE_CONFIRMED);
  EXPECT_EQ(Get(member_.task).counts().confirmed(), 1);
}

TEST_F(NegotiationTest, IgnoresRepeatedAndStaleReports) {
  Open(NewTask("site"));
  auto negotiation = Negotiate();
  negotiation->Declare();
  const NegotiateRequest before = negotiation->Message();
  ASSERT_EQ(negotiation->Accept().state(), Participant::STATE_ACCEPTED);
  const int64_t version = GetParticipant(member_.task, "web-1").version();
  NegotiateRequest stale = before;
  stale.mutable_decline()->set_code("policy");
  NegotiateResponse answer = negotiation->Send(stale);
  EXPECT_TRUE(answer.unchanged());
  EXPECT_EQ(answer.state(), Participant::STATE_ACCEPTED);
  NegotiateRequest repeated = negotiation->Message();
  repeated.set_sequence(1);
  repeated.mutable_progress()->set_state(Participant::STATE_STAGED);
  ASSERT_TRUE(negotiation->Write(repeated));
  answer = negotiation->Read();
  EXPECT_TRUE(answer.unchanged());
  EXPECT_EQ(answer.state(), Participant::STATE_ACCEPTED);
  NegotiateRequest other_attempt = negotiation->Message();
  other_attempt.set_attempt(9);
  other_attempt.mutable_progress()->set_state(Participant::STATE_STAGED);
  EXPECT_TRUE(negotiation->Send(other_attempt).unchanged());
  EXPECT_EQ(GetParticipant(member_.task, "web-1").version(), version);
}

TEST_F(NegotiationTest, EndsAtAMessageOutOfOrderAndKeepsWhatWasBefore) {
  Open(NewTask("site"));
  auto negotiation = Negotiate();
  negotiation->Declare();
  negotiation->Report(Participant::STATE_APPLYING);
  EXPECT_EQ(Reason(negotiation->Finish()), "NO_TRANSITION");
  EXPECT_EQ(State(), Participant::STATE_OFFERED);

  auto undeclared = Negotiate();
  undeclared->Accept();
  EXPECT_EQ(Reason(undeclared->Finish()), "NOT_DECLARED");

  auto malformed = Negotiate();
  malformed->Declare();
  NegotiateRequest request = malformed->Message();
  request.mutable_decline()->set_code("because");
  malformed->Send(request);
  EXPECT_EQ(Reason(malformed->Finish()), "DECLINE_CODE");
}

TEST_F(NegotiationTest, TakesMessagesThatAreSentWithoutWaiting) {
  Open(NewTask("site"));
  auto negotiation = Negotiate();
  const int64_t version = negotiation->Declare().version();
  NegotiateRequest request = negotiation->Message();
  int64_t sequence = 1;
  request.mutable_accept();
  for (const auto state : {Participant::STATE_UNSPECIFIED, Participant::STATE_TRANSFERRING, Participant::STATE_STAGED,
                           Participant::STATE_APPLYING}) {
    if (state != Participant::STATE_UNSPECIFIED) request.mutable_progress()->set_state(state);
    request.set_expected_version(version + sequence - 1);
    request.set_sequence(++sequence);
    ASSERT_TRUE(negotiation->Write(request));
  }
  NegotiateResponse answer;
  for (int i = 2; i <= 5; ++i) {
    answer = negotiation->Read();
    EXPECT_EQ(answer.sequence(), i);
    EXPECT_FALSE(answer.unchanged());
  }
  EXPECT_EQ(answer.state(), Participant::STATE_APPLYING);
  EXPECT_EQ(State(), Participant::STATE_APPLYING);
}

TEST_F(NegotiationTest, IsHeldByOneStreamAClient) {
  Open(NewTask("site"));
  auto first = Negotiate();
  ASSERT_EQ(first->Declare().state(), Participant::STATE_OFFERED);
  auto second = Negotiate();
  const NegotiateResponse offered = second->Declare();
  EXPECT_EQ(offered.state(), Participant::STATE_OFFERED);
  EXPECT_TRUE(offered.has_offer());
  const absl::Status ended = first->Finish();
  EXPECT_EQ(ended.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(Reason(ended), "STREAM_REPLACED");
  EXPECT_EQ(second->Accept().state(), Participant::STATE_ACCEPTED);
}

TEST_F(NegotiationTest, WaitsWhileTheTaskIsPausedAndGoesOnByItself) {
  Open(NewTask("site"));
  ASSERT_TRUE(Pause(member_.task).ok());
  auto negotiation = Negotiate();
  EXPECT_EQ(negotiation->Declare().state(), Participant::STATE_QUEUED);
  ASSERT_TRUE(Resume(member_.task).ok());
  NegotiateResponse offered = negotiation->Read();
  EXPECT_EQ(offered.state(), Participant::STATE_OFFERED);
  EXPECT_EQ(offered.sequence(), 0);
  ASSERT_TRUE(Pause(member_.task).ok());
  // The offer is taken back from who has not accepted; who has goes on.
  EXPECT_EQ(negotiation->Accept().state(), Participant::STATE_QUEUED);
  ASSERT_TRUE(Resume(member_.task).ok());
  do offered = negotiation->Read();
  while (offered.state() == Participant::STATE_QUEUED);
  EXPECT_EQ(offered.attempt(), 2);
  EXPECT_EQ(negotiation->Accept().state(), Participant::STATE_ACCEPTED);
  ASSERT_TRUE(Pause(member_.task).ok());
  EXPECT_EQ(negotiation->Report(Participant::STATE_STAGED).state(), Participant::STATE_STAGED);
}

TEST_F(NegotiationTest, OffersTheNextRevisionOnTheLiveStream) {
  Open(NewTask("site"));
  auto negotiation = Negotiate();
  negotiation->CarryOn();
  ASSERT_TRUE(Publish(member_.task, "second").ok());
  // Who is in the middle of applying finishes first.
  const auto fresh = Connect(member_.key);
  ASSERT_TRUE(Confirm(fresh.get(), member_.task, task_.task().payload_digest()).ok());
  NegotiateResponse push = negotiation->Read();
  while (push.state() == Participant::STATE_CHECKING || push.state() == Participant::STATE_CONFIRMED) {
    push = negotiation->Read();
  }
  EXPECT_EQ(push.state(), Participant::STATE_OFFERED);
  EXPECT_EQ(push.attempt(), 1);
  task::v1::Manifest manifest;
  ASSERT_TRUE(manifest.ParseFromString(push.offer().manifest().manifest()));
  EXPECT_EQ(manifest.revision(), 2);
  const Participant participant = GetParticipant(member_.task, "web-1");
  EXPECT_EQ(participant.confirmed_revision(), 1);
  EXPECT_EQ(participant.revision(), 2);
}

TEST_F(NegotiationTest, IsCanceledByAnAbortUnlessItApplies) {
  Open(NewTask("site"));
  const JoinedClient other = Join(task_, "web-2");
  const auto second = Connect(other.key);
  auto applying = Negotiate();
  applying->CarryOn();
  TestNegotiation waiting(second.get(), other.task);
  ASSERT_EQ(waiting.Declare().state(), Participant::STATE_OFFERED);
  ASSERT_TRUE(Abort(member_.task, "wrong certificate").ok());
  NegotiateResponse last = waiting.Read();
  while (last.state() == Participant::STATE_OFFERED) last = waiting.Read();
  EXPECT_EQ(last.state(), Participant::STATE_CANCELED);
  EXPECT_EQ(last.reason(), "wrong certificate");
  EXPECT_TRUE(waiting.Finish().ok());
  const auto fresh = Connect(member_.key);
  EXPECT_TRUE(Confirm(fresh.get(), member_.task, task_.task().payload_digest()).ok());
  last = applying->Read();
  while (last.state() == Participant::STATE_CHECKING) last = applying->Read();
  EXPECT_EQ(last.state(), Participant::STATE_CONFIRMED);
  EXPECT_TRUE(applying->Finish().ok());
  const task::v1::Counts counts = Get(member_.task).counts();
  EXPECT_EQ(counts.canceled(), 1);
  EXPECT_EQ(counts.confirmed(), 1);
}

TEST_F(NegotiationTest, OfADeferredOfferGoesOnAtItsTime) {
  Open(NewTask("site"));
  auto negotiation = Negotiate();
  negotiation->Declare();
  NegotiateRequest defer = negotiation->Message();
  *defer.mutable_defer()->mutable_until() = ToProto(clock_.Now() + absl::Hours(2));
  defer.mutable_defer()->set_reason("in use");
  const NegotiateResponse deferred = negotiation->Send(defer);
  EXPECT_EQ(deferred.state(), Participant::STATE_DEFERRED);
  EXPECT_EQ(ToTime(deferred.retry_time()), clock_.Now() + absl::Hours(2));
  EXPECT_EQ(Get(member_.task).counts().deferred(), 1);
  clock_.Advance(absl::Hours(2));
  const NegotiateResponse offered = negotiation->Read();
  EXPECT_EQ(offered.state(), Participant::STATE_OFFERED);
  EXPECT_EQ(offered.offer().deferrals_left(), 2);
}

TEST_F(NegotiationTest, OfAScheduledTaskBeginsAtItsStart) {
  task::v1::CreateTaskRequest request = NewTask("site");
  *request.mutable_start_time() = ToProto(clock_.Now() + absl::Hours(1));
  Open(request);
  EXPECT_EQ(Get(member_.task).state(), Task::STATE_SCHEDULED);
  auto negotiation = Negotiate();
  const NegotiateResponse queued = negotiation->Declare();
  EXPECT_EQ(queued.state(), Participant::STATE_QUEUED);
  EXPECT_EQ(ToTime(queued.retry_time()), clock_.Now() + absl::Hours(1));
  clock_.Advance(absl::Hours(1));
  EXPECT_EQ(negotiation->Read().state(), Participant::STATE_OFFERED);
  EXPECT_EQ(Get(member_.task).state(), Task::STATE_OPEN);
}

TEST_F(NegotiationTest, IsLostAndFoundWhereItStopped) {
  Open(NewLongTask("site"));
  auto negotiation = Negotiate();
  negotiation->Declare();
  negotiation->Accept();
  negotiation->Report(Participant::STATE_STAGED);
  negotiation->Cancel();
  AdvanceUntil(member_.task, "web-1", Participant::STATE_LOST, absl::Seconds(20));
  EXPECT_EQ(GetParticipant(member_.task, "web-1").lost_state(), Participant::STATE_STAGED);
  // The counts follow what the server has done by itself.
  while (Get(member_.task).counts().lost() != 1 && !HasFailure()) {
  }
  auto again = Negotiate();
  const NegotiateResponse back = again->Declare();
  EXPECT_EQ(back.state(), Participant::STATE_STAGED);
  EXPECT_TRUE(back.has_offer());
  EXPECT_EQ(again->Report(Participant::STATE_APPLYING).state(), Participant::STATE_APPLYING);
}

TEST_F(NegotiationTest, TimesOutInEveryPhase) {
  Open(NewTask("site"));
  auto negotiation = Negotiate();
  negotiation->Declare();
  negotiation->Accept();
  clock_.Advance(absl::Minutes(9));
  // More bytes renew the lease, though nothing is stored for it.
  NegotiateRequest bytes = negotiation->Message();
  bytes.mutable_progress()->set_state(Participant::STATE_TRANSFERRING);
  ASSERT_EQ(negotiation->Send(bytes).state(), Participant::STATE_TRANSFERRING);
  clock_.Advance(absl::Minutes(9));
  bytes = negotiation->Message();
  bytes.mutable_progress()->set_state(Participant::STATE_TRANSFERRING);
  bytes.mutable_progress()->set_transferred_bytes(5);
  EXPECT_FALSE(negotiation->Send(bytes).unchanged());
  clock_.Advance(absl::Minutes(9));
  EXPECT_EQ(State(), Participant::STATE_TRANSFERRING);
  clock_.Advance(absl::Minutes(2));
  const NegotiateResponse over = negotiation->Read();
  EXPECT_EQ(over.state(), Participant::STATE_TIMED_OUT);
  EXPECT_EQ(GetParticipant(member_.task, "web-1").reason(), "transfer_lease");
  EXPECT_EQ(Get(member_.task).counts().timed_out(), 1);
}

TEST_F(NegotiationTest, OfAForcedTaskCannotBeDeclined) {
  task::v1::CreateTaskRequest request = NewTask("site");
  request.set_forced(true);
  Open(request);
  auto negotiation = Negotiate();
  EXPECT_TRUE(negotiation->Declare().offer().forced());
  NegotiateRequest decline = negotiation->Message();
  decline.mutable_decline()->set_code("policy");
  negotiation->Send(decline);
  EXPECT_EQ(Reason(negotiation->Finish()), "TASK_FORCED");
}

}  // namespace
}  // namespace parley::taskd
