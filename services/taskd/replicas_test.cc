// Two replicas of taskd on one store: what one has acknowledged holds at the other, and nothing is done twice.
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/crypto/kdf.h"
#include "parley/task/v1/manifest.pb.h"
#include "services/taskd/store/keys.h"
#include "services/taskd/tasks/removal.h"
#include "services/taskd/testing/replicas_testing.h"

namespace parley::taskd {
namespace {

// Less than the session lease of a minute.
constexpr absl::Duration kStep = absl::Seconds(20);

class TwoReplicasTest : public ReplicasTest {
 protected:
  TwoReplicasTest() {
    one_ = StartReplica();
    two_ = StartReplica();
  }

  JoinedClient JoinAt(size_t replica, const task::v1::CreateTaskResponse& task, const std::string& client) {
    TalkToReplica(replica);
    return Join(task, client);
  }
  // The revision that a message offers; 0 if it is no offer.
  static int64_t OfferOf(const NegotiateResponse& message) {
    task::v1::Manifest manifest;
    EXPECT_TRUE(manifest.ParseFromString(message.offer().manifest().manifest()));
    return manifest.revision();
  }
  // Reads until this revision is offered.
  static void ReadUntil(TestNegotiation* client, int64_t revision) {
    for (NegotiateResponse message; OfferOf(message) != revision;) {
      message = client->Read();
      ASSERT_NE(message.state(), Participant::STATE_UNSPECIFIED) << client->Finish();
    }
  }

  size_t one_ = 0;
  size_t two_ = 0;
};

TEST_F(TwoReplicasTest, APublishAtOneReachesTheClientsOfBoth) {
  const auto task = Create(NewTask("fleet"));
  ASSERT_TRUE(task.ok()) << task.status();
  const JoinedClient here = JoinAt(one_, *task, "web-1");
  const JoinedClient there = JoinAt(two_, *task, "web-2");
  const auto connection_here = ConnectTo(one_, here.key);
  const auto connection_there = ConnectTo(two_, there.key);
  TestNegotiation negotiation_here(connection_here.get(), here.task);
  TestNegotiation negotiation_there(connection_there.get(), there.task);
  EXPECT_EQ(OfferOf(negotiation_here.Declare()), 1);
  EXPECT_EQ(OfferOf(negotiation_there.Declare()), 1);

  TalkToReplica(one_);
  ASSERT_TRUE(Publish(here.task, "second").ok());
  ReadUntil(&negotiation_here, 2);
  ReadUntil(&negotiation_there, 2);
}

TEST_F(TwoReplicasTest, AClientIsConnectedForBothWhereverItIs) {
  const auto task = Create(NewTask("fleet"));
  ASSERT_TRUE(task.ok()) << task.status();
  const JoinedClient client = JoinAt(two_, *task, "web-1");
  auto connection = ConnectTo(two_, client.key);
  TestNegotiation negotiation(connection.get(), client.task);
  negotiation.CarryOn();
  WaitForPresence(two_, client, true);
  WaitForPresence(one_, client, true);

  // It is lost by neither while it is connected to one.
  for (int i = 0; i < 6; ++i) {
    clock_.Advance(kStep);
    for (const size_t replica : {one_, two_}) {
      TalkToReplica(replica);
      EXPECT_EQ(GetParticipant(client.task, client.client).state(), Participant::STATE_CHECKING);
    }
  }

  negotiation.Cancel();
  WaitForPresence(two_, client, false);
  WaitForPresence(one_, client, false);
  const absl::Time gone = clock_.Now();
  clock_.Advance(absl::Seconds(1));
  for (const size_t replica : {one_, two_}) {
    TalkToReplica(replica);
    EXPECT_EQ(ToTime(GetParticipant(client.task, client.client).disconnect_time()), gone);
  }
  AdvanceUntil(client.task, client.client, Participant::STATE_LOST, absl::Seconds(61));
}

TEST_F(TwoReplicasTest, TheNewestSessionOfAClientIsTheOnlyOne) {
  const auto task = Create(NewTask("fleet"));
  ASSERT_TRUE(task.ok()) << task.status();
  const JoinedClient client = JoinAt(one_, *task, "web-1");
  const auto connection_here = ConnectTo(one_, client.key);
  const auto connection_there = ConnectTo(two_, client.key);
  for (int i = 0; i < 3; ++i) {
    TestNegotiation former(connection_here.get(), client.task);
    EXPECT_EQ(former.Declare().state(), Participant::STATE_OFFERED);
    WaitForPresence(two_, client, true);
    TestNegotiation newer(connection_there.get(), client.task);
    EXPECT_EQ(newer.Declare().state(), Participant::STATE_OFFERED);
    EXPECT_EQ(Reason(former.Finish()), "STREAM_REPLACED");

    TalkToReplica(one_);
    ASSERT_TRUE(Publish(client.task, absl::StrCat("content ", i)).ok());
    ReadUntil(&newer, i + 2);
    EXPECT_TRUE(GetParticipant(client.task, client.client).connected());
    newer.Cancel();
    WaitForPresence(one_, client, false);
  }
}

TEST_F(TwoReplicasTest, ARestartedReplicaKnowsSinceWhenAClientIsGone) {
  const auto task = Create(NewTask("fleet"));
  ASSERT_TRUE(task.ok()) << task.status();
  const JoinedClient client = JoinAt(one_, *task, "web-1");
  const auto connection = ConnectTo(one_, client.key);
  TestNegotiation negotiation(connection.get(), client.task);
  negotiation.Declare();
  WaitForPresence(two_, client, true);
  negotiation.Cancel();
  WaitForPresence(two_, client, false);
  const absl::Time gone = clock_.Now();
  clock_.Advance(absl::Minutes(1));
  StopReplica(one_);
  StopReplica(two_);
  TalkToReplica(StartReplica());
  const Participant shown = GetParticipant(client.task, client.client);
  EXPECT_FALSE(shown.connected());
  EXPECT_EQ(ToTime(shown.disconnect_time()), gone);
}

TEST_F(TwoReplicasTest, WhatIsDueIsDoneOnce) {
  const size_t leader = WaitForLeader();
  const size_t other = leader == one_ ? two_ : one_;
  constexpr int kClients = 6;
  const auto task = Create(NewLongTask("fleet"));
  ASSERT_TRUE(task.ok()) << task.status();
  const std::string name = task->task().name();
  {
    std::vector<std::unique_ptr<TaskdTestClient>> connections;
    std::vector<std::unique_ptr<TestNegotiation>> negotiations;
    for (int i = 0; i < kClients; ++i) {
      const size_t at = i % 2 == 0 ? one_ : two_;
      const JoinedClient client = JoinAt(at, *task, absl::StrCat("web-", i));
      connections.push_back(ConnectTo(at, client.key));
      negotiations.push_back(std::make_unique<TestNegotiation>(connections.back().get(), client.task));
      negotiations.back()->CarryOn();
      WaitForPresence(leader, client, true);
    }
  }
  for (int i = 0; i < kClients; ++i) {
    AdvanceUntil(name, absl::StrCat("web-", i), Participant::STATE_LOST, absl::Seconds(61));
  }
  EXPECT_EQ(MetricOf(leader, "parley_client_ends_total"), kClients);
  ASSERT_TRUE(Abort(name, "enough").ok());
  WaitForTask(name, Task::STATE_ABORTED);
  clock_.Advance(ToDuration(task->task().leases().apply()) + absl::Minutes(1));
  while (shared_->Get(UnsettledKey("fleet")).ok() && !HasFailure()) {
  }
  EXPECT_EQ(MetricOf(other, "parley_client_ends_total"), 0);
  EXPECT_EQ(MetricOf(other, "parley_task_looks_total"), 0);
  EXPECT_GT(MetricOf(leader, "parley_task_looks_total"), 0);
  // What was known of the connections goes with the task.
  while (!shared_->List(AllPresenceRange())->entries.empty() && !HasFailure()) {
  }
}

TEST_F(TwoReplicasTest, ADeletedTaskIsRemovedByTheOneThatLeads) {
  const size_t leader = WaitForLeader();
  const size_t other = leader == one_ ? two_ : one_;
  const auto request_delete = [&](const std::string& task) {
    task::v1::DeleteTaskRequest request;
    request.set_name(task);
    return op().Call(&op().tasks(), &TaskService::Stub::DeleteTask, request).status();
  };
  for (const size_t at : {leader, other}) {
    TalkToReplica(at);
    const auto task = Create(NewTask("fleet"));
    ASSERT_TRUE(task.ok()) << task.status();
    const JoinedClient client = JoinAt(leader, *task, "web-1");
    TalkToReplica(at);
    ASSERT_TRUE(Abort(task->task().name(), "enough").ok());
    while (shared_->Get(UnsettledKey("fleet")).ok() && !HasFailure()) {
    }
    ASSERT_TRUE(request_delete(task->task().name()).ok());
    for (const size_t replica : {one_, two_}) {
      TalkToReplica(replica);
      EXPECT_EQ(Reason(request_delete(task->task().name())), "TASK_NOT_FOUND");
    }
    while ((shared_->Get(RemovalKey("fleet")).ok() || !shared_->List(KeyRange::Prefix("d/"))->entries.empty()) &&
           !HasFailure()) {
    }
    while (Admits(one_, client.key) || Admits(two_, client.key)) {
    }
  }
  // It counts when it is done.
  while (MetricOf(leader, "parley_swept_chunks_total") < 4) {
  }
  EXPECT_EQ(MetricOf(leader, "parley_swept_chunks_total"), 4);
  EXPECT_EQ(MetricOf(leader, "parley_deleted_tasks_total"), 2);
  EXPECT_EQ(MetricOf(other, "parley_deleted_tasks_total"), 0);
  EXPECT_EQ(MetricOf(other, "parley_swept_chunks_total"), 0);
}

TEST_F(TwoReplicasTest, ATaskThatWasDeletedWhileAReplicaWasCutOffIsForgottenThere) {
  const auto task = Create(NewTask("fleet"));
  ASSERT_TRUE(task.ok()) << task.status();
  WaitForLeader();
  TalkToReplica(two_);
  EXPECT_EQ(Get(task->task().name()).state(), Task::STATE_OPEN);
  replica(two_).store->CutOff(true);
  TalkToReplica(one_);
  // Whoever led before.
  store::Transaction gone;
  const TaskStore tasks(shared_.get());
  auto record = *tasks.GetTask("fleet");
  record.value.set_settled(true);
  Replace(TaskKey("fleet"), record.revision, record.value, &gone);
  gone.Delete(UnsettledKey("fleet"));
  ASSERT_TRUE(shared_->Commit(std::move(gone)).ok());
  ASSERT_TRUE(shared_->Commit(*BeginRemoval(tasks, *tasks.GetTask("fleet"))).ok());
  replica(two_).store->CutOff(false);
  // It reads anew after a pause by its clock.
  while (MetricOf(two_, "parley_tasks{state=\"open\"}") != 0 && !HasFailure()) clock_.Advance(absl::Milliseconds(100));
}

TEST_F(TwoReplicasTest, TheLeaseOfAConnectedClientEndsAtItsReplica) {
  const size_t leader = WaitForLeader();
  const size_t other = leader == one_ ? two_ : one_;
  const auto task = Create(NewTask("fleet"));
  ASSERT_TRUE(task.ok()) << task.status();
  const JoinedClient client = JoinAt(other, *task, "web-1");
  const auto connection = ConnectTo(other, client.key);
  TestNegotiation negotiation(connection.get(), client.task);
  negotiation.Declare();
  EXPECT_EQ(negotiation.Accept().state(), Participant::STATE_ACCEPTED);
  WaitForPresence(leader, client, true);
  AdvanceUntil(client.task, client.client, Participant::STATE_TIMED_OUT,
               ToDuration(task->task().leases().transfer()) + absl::Seconds(1));
  EXPECT_EQ(MetricOf(other, "parley_client_ends_total"), 1);
  EXPECT_EQ(MetricOf(leader, "parley_client_ends_total"), 0);
}

TEST_F(TwoReplicasTest, WhatAClientFetchesElsewhereRenewsItsLease) {
  const auto task = Create(NewTask("fleet"));
  ASSERT_TRUE(task.ok()) << task.status();
  const JoinedClient client = JoinAt(one_, *task, "web-1");
  const auto connection = ConnectTo(one_, client.key);
  TestNegotiation negotiation(connection.get(), client.task);
  const NegotiateResponse offer = negotiation.Declare();
  EXPECT_EQ(negotiation.Accept().state(), Participant::STATE_ACCEPTED);
  WaitForPresence(two_, client, true);
  task::v1::Manifest manifest;
  ASSERT_TRUE(manifest.ParseFromString(offer.offer().manifest().manifest()));

  const absl::Duration lease = ToDuration(task->task().leases().transfer());
  const auto fetching = ConnectTo(two_, client.key);
  for (int i = 0; i < 4; ++i) {
    clock_.Advance(lease * 0.6);
    grpc::ClientContext context;
    TaskdTestClient::SetDeadline(&context);
    task::v1::FetchChunksRequest request;
    request.set_task(client.task);
    request.set_revision(1);
    request.add_chunks()->set_digest(manifest.files(0).chunks(0));
    const auto stream = fetching->artifacts().FetchChunks(&context, request);
    task::v1::FetchChunksResponse piece;
    while (stream->Read(&piece)) {
    }
    ASSERT_TRUE(stream->Finish().ok());
    while (ToTime(GetParticipant(client.task, client.client).lease_time()) < clock_.Now() + lease && !HasFailure()) {
    }
    EXPECT_EQ(GetParticipant(client.task, client.client).state(), Participant::STATE_ACCEPTED);
  }
}

// Each remembers what it has put, and the other one has gone on from there.
TEST_F(TwoReplicasTest, AJobGoesToAndFro) {
  const auto task = Create(NewTask("fleet"));
  ASSERT_TRUE(task.ok()) << task.status();
  for (int i = 0; i < 10; ++i) {
    const JoinedClient client = JoinAt(i % 2 == 0 ? one_ : two_, *task, absl::StrCat("web-", i));
    const auto here = ConnectTo(one_, client.key), there = ConnectTo(two_, client.key);
    TestNegotiation first(here.get(), client.task);
    ASSERT_EQ(first.Declare().state(), Participant::STATE_OFFERED) << first.Finish();
    first.Cancel();
    TestNegotiation second(there.get(), client.task);
    ASSERT_EQ(second.Declare().state(), Participant::STATE_OFFERED) << second.Finish();
    ASSERT_EQ(second.Accept().state(), Participant::STATE_ACCEPTED) << second.Finish();
    second.Cancel();
    TestNegotiation third(here.get(), client.task);
    ASSERT_EQ(third.Declare().state(), Participant::STATE_ACCEPTED) << third.Finish();
    NegotiateResponse checking;
    for (const auto state : {Participant::STATE_STAGED, Participant::STATE_APPLYING, Participant::STATE_CHECKING}) {
      checking = third.Report(state);
      ASSERT_EQ(checking.state(), state) << third.Finish();
    }
    task::v1::ConfirmRequest request;
    request.set_task(client.task);
    request.set_attempt(checking.attempt());
    request.set_expected_version(checking.version());
    request.set_installed_digest(task->task().payload_digest());
    const auto confirmed = there->Call(&there->participation(), &ParticipationService::Stub::Confirm, request);
    ASSERT_TRUE(confirmed.ok()) << confirmed.status();
    EXPECT_EQ(confirmed->state(), Participant::STATE_CONFIRMED);
  }
}

TEST_F(TwoReplicasTest, AJoinKeyIsCountedAndRevokedForBoth) {
  task::v1::CreateTaskRequest request = NewTask("fleet");
  request.set_join_key_max_members(6);
  const auto task = Create(request);
  ASSERT_TRUE(task.ok()) << task.status();
  const keys::JoinKey key = ParseJoinKey(task->join_key().pasted());
  std::unique_ptr<TaskdTestClient> joiners[] = {ConnectTo(one_, KeyOf(key)), ConnectTo(two_, KeyOf(key))};
  const auto join = [&](int replica, const task::v1::JoinRequest& joining) {
    TaskdTestClient& joiner = *joiners[replica];
    return Reason(joiner.Call(&joiner.participation(), &ParticipationService::Stub::Join, joining).status());
  };
  for (int i = 0; i < 3; ++i) {
    const auto joining = NewJoin(absl::StrCat("web-", i));
    EXPECT_EQ(join(i % 2, joining), "");
    EXPECT_EQ(join((i + 1) % 2, joining), "") << "the same request, again";
    EXPECT_EQ(join((i + 1) % 2, NewJoin(absl::StrCat("web-", i))), "CLIENT_ALREADY_JOINED");
  }
  for (int i = 3; i < 6; ++i) EXPECT_EQ(join(1, NewJoin(absl::StrCat("web-", i))), "");
  EXPECT_EQ(join(0, NewJoin("web-6")), "MAX_MEMBERS");
  EXPECT_EQ(join(1, NewJoin("web-6")), "MAX_MEMBERS");

  task::v1::RevokeJoinKeyRequest revoke;
  revoke.set_name(task->join_key().join_key().name());
  TalkToReplica(one_);
  ASSERT_TRUE(op().Call(&op().tasks(), &TaskService::Stub::RevokeJoinKey, revoke).ok());
  EXPECT_FALSE(Admits(two_, KeyOf(key)));
}

TEST_F(TwoReplicasTest, ACallerSeesAtOneWhatWasAcknowledgedAtTheOther) {
  const auto task = Create(NewTask("fleet"));
  ASSERT_TRUE(task.ok()) << task.status();
  const std::string name = task->task().name();
  for (int i = 0; i < 20; ++i) {
    JoinAt(i % 2 == 0 ? one_ : two_, *task, absl::StrCat("web-", i));
    TalkToReplica(i % 2 == 0 ? two_ : one_);
    ASSERT_EQ(Get(name).counts().joined(), i + 1);
    const auto listed = op().Call(&op().tasks(), &TaskService::Stub::ListTasks, task::v1::ListTasksRequest());
    ASSERT_TRUE(listed.ok()) << listed.status();
    ASSERT_EQ(listed->tasks(0).counts().joined(), i + 1);
  }
  for (int i = 0; i < 10; ++i) {
    TalkToReplica(i % 2 == 0 ? one_ : two_);
    ASSERT_TRUE(Publish(name, absl::StrCat("content ", i)).ok());
    TalkToReplica(i % 2 == 0 ? two_ : one_);
    const Task shown = Get(name);
    ASSERT_EQ(shown.revision(), i + 2);
    // Nobody is up to date with a revision that has just come.
    ASSERT_EQ(shown.counts().waiting(), 20) << shown.DebugString();
    task::v1::WatchTaskRequest watch;
    watch.set_name(name);
    grpc::ClientContext context;
    TaskdTestClient::SetDeadline(&context);
    const auto stream = op().tasks().WatchTask(&context, watch);
    task::v1::WatchTaskResponse first;
    ASSERT_TRUE(stream->Read(&first));
    EXPECT_EQ(first.task().revision(), i + 2);
    context.TryCancel();
  }
}

TEST_F(TwoReplicasTest, ARequestThatIsRepeatedAtTheOtherIsDoneOnce) {
  const task::v1::CreateTaskRequest request = NewTask("fleet");
  const auto first = Create(request);
  ASSERT_TRUE(first.ok()) << first.status();
  TalkToReplica(two_);
  const auto again = Create(request);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->join_key().join_key().name(), first->join_key().join_key().name());
}

TEST_F(TwoReplicasTest, NoReplicaAdmitsAKeyWhoseRevocationIsAcknowledged) {
  const auto task = Create(NewTask("fleet"));
  ASSERT_TRUE(task.ok()) << task.status();
  for (int i = 0; i < 10; ++i) {
    const size_t at = i % 2 == 0 ? one_ : two_;
    const size_t elsewhere = i % 2 == 0 ? two_ : one_;
    const JoinedClient client = JoinAt(at, *task, absl::StrCat("web-", i));
    const auto before = ConnectTo(elsewhere, client.key);
    EXPECT_NE(Reason(Confirm(before.get(), client.task, "", 1).status()), "KEY_REVOKED");
    ASSERT_TRUE(RevokeParticipant(client.task, client.client).ok());
    EXPECT_FALSE(Admits(elsewhere, client.key)) << i;
  }
}

TEST_F(ReplicasTest, AReplicaThatIsCutOffHoldsUpARevocationUntilItAdmitsNobody) {
  const size_t one = StartReplica();
  const auto task = Create(NewTask("fleet"));
  ASSERT_TRUE(task.ok()) << task.status();
  const JoinedClient client = Join(*task, "web-1");
  const size_t two = StartReplica(absl::Seconds(2));
  const auto connection = ConnectTo(two, client.key);
  TestNegotiation negotiation(connection.get(), client.task);
  negotiation.Declare();
  WaitForPresence(one, client, true);

  replica(two).store->CutOff(true);
  ASSERT_TRUE(RevokeParticipant(client.task, client.client).ok());
  EXPECT_EQ(Reason(replica(two).replicas->CheckHeld()), "REPLICA_CUT_OFF");
  EXPECT_EQ(Reason(negotiation.Finish()), "REPLICA_CUT_OFF");
  TestNegotiation again(connection.get(), client.task);
  EXPECT_EQ(again.Declare().state(), Participant::STATE_UNSPECIFIED);

  replica(two).store->CutOff(false);
  while (!replica(two).replicas->CheckHeld().ok() && !HasFailure()) {
  }
  EXPECT_FALSE(Admits(two, client.key)) << "it read what it had missed before it took part again";
}

TEST_F(ReplicasTest, AnotherOneServesAndLeadsWhenAReplicaIsGone) {
  const size_t one = StartReplica(absl::Seconds(2));
  EXPECT_EQ(WaitForLeader(), one);
  const size_t two = StartReplica();
  const auto task = Create(NewLongTask("fleet"));
  ASSERT_TRUE(task.ok()) << task.status();
  const JoinedClient back = Join(*task, "web-back");
  const JoinedClient away = Join(*task, "web-away");
  const auto connection_back = ConnectTo(one, back.key);
  const auto connection_away = ConnectTo(one, away.key);
  TestNegotiation negotiation_back(connection_back.get(), back.task);
  TestNegotiation negotiation_away(connection_away.get(), away.task);
  negotiation_back.CarryOn();
  negotiation_away.CarryOn();
  WaitForPresence(two, back, true);
  WaitForPresence(two, away, true);

  replica(one).store->CutOff(true);
  const auto connection = ConnectTo(two, back.key);
  TestNegotiation negotiation(connection.get(), back.task);
  EXPECT_EQ(negotiation.Declare().state(), Participant::STATE_CHECKING);
  EXPECT_EQ(Reason(negotiation_back.Finish()), "REPLICA_CUT_OFF");
  while (MetricOf(two, "parley_leads") != 1 && !HasFailure()) {
  }
  WaitForPresence(two, away, false);
  const absl::Time gone = clock_.Now();
  AdvanceUntil(away.task, away.client, Participant::STATE_LOST, absl::Seconds(61));
  EXPECT_EQ(GetParticipant(back.task, back.client).state(), Participant::STATE_CHECKING);
  EXPECT_TRUE(GetParticipant(back.task, back.client).connected());

  // It is noted for those that come later.
  const size_t three = StartReplica();
  TalkToReplica(three);
  const Participant shown = GetParticipant(away.task, away.client);
  EXPECT_FALSE(shown.connected());
  EXPECT_EQ(ToTime(shown.disconnect_time()), gone);
}

TEST_F(ReplicasTest, OneThatComesBackServesAgain) {
  const size_t one = StartReplica();
  const size_t two = StartReplica(absl::Seconds(2));
  const auto task = Create(NewTask("fleet"));
  ASSERT_TRUE(task.ok()) << task.status();
  const JoinedClient client = Join(*task, "web-1");
  replica(two).store->CutOff(true);
  while (replica(two).replicas->CheckHeld().ok() && !HasFailure()) {
  }
  ASSERT_TRUE(Publish(client.task, "while it was away").ok());
  replica(two).store->CutOff(false);
  while (!replica(two).replicas->CheckHeld().ok() && !HasFailure()) {
  }
  TalkToReplica(two);
  EXPECT_EQ(Get(client.task).revision(), 2);
  const auto connection = ConnectTo(two, client.key);
  TestNegotiation negotiation(connection.get(), client.task);
  task::v1::Manifest manifest;
  ASSERT_TRUE(manifest.ParseFromString(negotiation.Declare().offer().manifest().manifest()));
  EXPECT_EQ(manifest.revision(), 2);
  WaitForPresence(one, client, true);
}

TEST_F(ReplicasTest, AReplicaWithAnotherSealingKeyDoesNotStart) {
  StartReplica();
  WaitForLeader();
  const int64_t before = *shared_->Revision();
  const absl::Status other = TryStartReplica(crypto::RandomSecret(32), absl::Seconds(30));
  EXPECT_EQ(Reason(other), "SEALING_KEY_DIFFERS") << other;
  const store::Page all = *shared_->List(KeyRange());
  for (const store::Entry& entry : all.entries) {
    // The other one says in its entry how far it has followed.
    if (entry.key.substr(0, 8) != "replica/") EXPECT_LE(entry.mod_revision, before) << entry.key;
  }
}

TEST_F(ReplicasTest, AStoreOfAnEarlierVersionOpensWithItsOwnSealingKeyAlone) {
  StartReplica();
  ASSERT_TRUE(Create(NewTask("fleet")).ok());
  StopReplica(0);
  ASSERT_TRUE(shared_->Commit(store::Transaction().Delete(std::string(kSealCheckKey))).ok());
  EXPECT_EQ(Reason(TryStartReplica(crypto::RandomSecret(32), absl::Seconds(30))), "SEALING_KEY_DIFFERS");
  TalkToReplica(StartReplica());
  EXPECT_TRUE(Publish("tasks/fleet", "second").ok());
}

}  // namespace
}  // namespace parley::taskd
