// Clients that could not, failed or were away, and go on: what hinders them, what gives them another attempt, and what
// their disk says in place of what was confirmed.
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "services/taskd/domain/names.h"
#include "services/taskd/store/keys.h"
#include "services/taskd/testing/taskd_testing.h"

namespace parley::taskd {
namespace {

using task::v1::Declaration;

Declaration Hindered(absl::string_view code) {
  Declaration declaration;
  declaration.mutable_hindrance()->set_code(std::string(code));
  declaration.mutable_hindrance()->set_detail(absl::StrCat("a sentence about ", code));
  return declaration;
}

Declaration Installed(absl::string_view digest) {
  Declaration declaration;
  declaration.set_installed_revision(1);
  declaration.set_installed_digest(std::string(digest));
  return declaration;
}

class AttemptsTest : public TaskdTest {
 protected:
  void Open(task::v1::CreateTaskRequest request) {
    auto task = Create(request);
    ASSERT_TRUE(task.ok()) << task.status();
    task_ = *std::move(task);
    member_ = Join(task_, "web-1");
    client_ = Connect(member_.key);
  }
  // A new stream, over the connection or, after a restart, a new one.
  std::unique_ptr<TestNegotiation> Negotiate() {
    return std::make_unique<TestNegotiation>(client_.get(), member_.task);
  }
  std::unique_ptr<TestNegotiation> NegotiateAnew() {
    client_ = Connect(member_.key);
    return Negotiate();
  }
  Participant Client(const std::string& name = "web-1") { return GetParticipant("tasks/site", name); }
  task::v1::Counts Counts() { return Get("tasks/site").counts(); }
  const std::string& Digest() const { return task_.task().payload_digest(); }

  // From the offer to the confirmation.
  void RunToTheEnd(TestNegotiation* negotiation) {
    negotiation->Apply();
    const auto fresh = Connect(member_.key);
    const auto confirmed = Confirm(fresh.get(), member_.task, Digest(), Client().attempt());
    ASSERT_TRUE(confirmed.ok()) << confirmed.status();
  }

  task::v1::CreateTaskResponse task_;
  JoinedClient member_;
  std::unique_ptr<TaskdTestClient> client_;
};

TEST_F(AttemptsTest, AFailureIsRepeatedOnlyWhenAPersonAsks) {
  Open(NewTask("site"));
  auto negotiation = Negotiate();
  ASSERT_EQ(negotiation->Declare().state(), Participant::STATE_OFFERED);
  negotiation->FailTheCheck();
  // The agent comes back by itself: nothing has changed.
  negotiation = Negotiate();
  EXPECT_EQ(negotiation->Declare().state(), Participant::STATE_ROLLED_BACK);
  EXPECT_EQ(Client().reason(), "check_failed");
  EXPECT_EQ(Client().detail(), "nginx: line 14");
  EXPECT_EQ(Counts().rolled_back(), 1);
  // The command is given again.
  Declaration retry;
  retry.set_retry(true);
  retry.set_instance(std::string(16, 'b'));
  negotiation = Negotiate();
  const NegotiateResponse offered = negotiation->Declare(retry);
  ASSERT_EQ(offered.state(), Participant::STATE_OFFERED);
  EXPECT_EQ(offered.attempt(), 2);
  EXPECT_EQ(Counts().rolled_back(), 0);
  RunToTheEnd(negotiation.get());
  EXPECT_EQ(Counts().confirmed(), 1);
}

TEST_F(AttemptsTest, AFailureIsRepeatedWhenTheCommandsHaveChanged) {
  Open(NewTask("site"));
  auto negotiation = Negotiate();
  Declaration declaration;
  declaration.set_setup_digest(std::string(32, 'a'));
  ASSERT_EQ(negotiation->Declare(declaration).state(), Participant::STATE_OFFERED);
  negotiation->FailTheCheck();
  Restart();
  negotiation = NegotiateAnew();
  EXPECT_EQ(negotiation->Declare(declaration).state(), Participant::STATE_ROLLED_BACK);
  declaration.set_setup_digest(std::string(32, 'b'));
  // On the same stream.
  EXPECT_EQ(negotiation->Declare(declaration).state(), Participant::STATE_OFFERED);
}

TEST_F(AttemptsTest, AreGivenByAnOperatorToWhoIsConnectedAtOnce) {
  Open(NewTask("site"));
  auto negotiation = Negotiate();
  negotiation->Declare();
  negotiation->FailTheCheck();
  const auto retried = Retry("tasks/site");
  ASSERT_TRUE(retried.ok()) << retried.status();
  EXPECT_EQ(retried->retried_clients(), 1);
  EXPECT_TRUE(audit_.Has("task.clients_retried", "ok"));
  NegotiateResponse pushed = negotiation->Read();
  while (pushed.state() == Participant::STATE_QUEUED) pushed = negotiation->Read();
  EXPECT_EQ(pushed.state(), Participant::STATE_OFFERED);
  EXPECT_EQ(pushed.attempt(), 2);
  RunToTheEnd(negotiation.get());
  // What has succeeded has nothing to repeat.
  EXPECT_EQ(Retry("tasks/site")->retried_clients(), 0);
  EXPECT_EQ(Client().state(), Participant::STATE_CONFIRMED);
}

TEST_F(AttemptsTest, AreGivenByAnOperatorToWhoIsAwayWhenItIsBack) {
  Open(NewTask("site"));
  auto negotiation = Negotiate();
  negotiation->Declare();
  negotiation->FailTheCheck();
  negotiation->Cancel();
  ASSERT_TRUE(Pause("tasks/site").ok());
  EXPECT_EQ(Retry("tasks/site", {"web-1", "web-1"})->retried_clients(), 1);
  EXPECT_EQ(Client().state(), Participant::STATE_QUEUED);
  EXPECT_EQ(Client().reason(), "retry");
  Restart();
  EXPECT_EQ(Client().state(), Participant::STATE_QUEUED);
  negotiation = NegotiateAnew();
  EXPECT_EQ(negotiation->Declare().state(), Participant::STATE_QUEUED);
  ASSERT_TRUE(Resume("tasks/site").ok());
  EXPECT_EQ(negotiation->Read().state(), Participant::STATE_OFFERED);
}

TEST_F(AttemptsTest, AreRefusedByNameOrLeaveTheClientAsItIs) {
  Open(NewTask("site"));
  auto negotiation = Negotiate();
  negotiation->CarryOn();
  const JoinedClient hindered = Join(task_, "web-2");
  const JoinedClient revoked = Join(task_, "web-3");
  const JoinedClient declined = Join(task_, "web-4");
  const auto second = Connect(hindered.key);
  TestNegotiation(second.get(), hindered.task).Declare(Hindered("clock"));
  const auto fourth = Connect(declined.key);
  {
    TestNegotiation negotiation(fourth.get(), declined.task);
    negotiation.Declare();
    NegotiateRequest decline = negotiation.Message();
    decline.mutable_decline()->set_code("policy");
    ASSERT_EQ(negotiation.Send(decline).state(), Participant::STATE_DECLINED);
  }
  ASSERT_TRUE(RevokeParticipant("tasks/site", "web-3").ok());
  // One or two that are unknown: none is changed.
  const auto unknown = Retry("tasks/site", {"web-4", "web-9"});
  EXPECT_EQ(unknown.status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Reason(unknown.status()), "PARTICIPANT_NOT_FOUND");
  EXPECT_TRUE(absl::StrContains(unknown.status().message(), "tasks/site has no client \"web-9\"; "));
  EXPECT_TRUE(absl::StrContains(Retry("tasks/site", {"web-9", "nobody", "web-4", "web-9"}).status().message(),
                                "tasks/site has no clients \"web-9\", \"nobody\"; "));
  std::vector<std::string> many;
  for (int i = 0; i < 1000; ++i) many.push_back(absl::StrCat(std::string(60, 'x'), i));
  EXPECT_TRUE(absl::StrContains(Retry("tasks/site", many).status().message(), "9\" and 990 more; "));
  EXPECT_EQ(RevokeParticipant("tasks/site", "nobody").status().message(),
            "tasks/site has no client \"nobody\"; list them with: parley task members site");
  EXPECT_EQ(Client("web-4").state(), Participant::STATE_DECLINED);
  // Applying, hindered, revoked: as they are.
  EXPECT_EQ(Retry("tasks/site", {"web-1", "web-2", "web-3"})->retried_clients(), 0);
  EXPECT_EQ(Client("web-1").state(), Participant::STATE_CHECKING);
  EXPECT_EQ(Client("web-2").state(), Participant::STATE_INELIGIBLE);
  EXPECT_EQ(Client("web-3").state(), Participant::STATE_CANCELED);
  EXPECT_EQ(Retry("tasks/site")->retried_clients(), 1);
  EXPECT_EQ(Client("web-4").state(), Participant::STATE_QUEUED);

  EXPECT_EQ(Reason(Retry("tasks/nowhere").status()), "TASK_NOT_FOUND");
  EXPECT_EQ(Reason(Retry("site").status()), "NAME_MALFORMED");
  EXPECT_EQ(Reason(Retry("tasks/site", {"../task"}).status()), "CLIENT_MALFORMED");
  EXPECT_EQ(Reason(Retry("tasks/site", {""}).status()), "CLIENT_MALFORMED");
  EXPECT_EQ(Reason(Retry("tasks/site", std::vector<std::string>(1001, "web-1")).status()), "TOO_MANY_CLIENTS");
  ASSERT_TRUE(Abort("tasks/site", "").ok());
  EXPECT_EQ(Reason(Retry("tasks/site").status()), "TASK_ENDED");
}

TEST_F(AttemptsTest, AreGivenToManyAtOnce) {
  Open(NewTask("site"));
  constexpr int kClients = 70;
  for (int i = 0; i < kClients; ++i) {
    const JoinedClient member = Join(task_, absl::StrCat("db-", i));
    const auto client = Connect(member.key);
    TestNegotiation negotiation(client.get(), member.task);
    negotiation.Declare();
    NegotiateRequest decline = negotiation.Message();
    decline.mutable_decline()->set_code("policy");
    ASSERT_EQ(negotiation.Send(decline).state(), Participant::STATE_DECLINED);
  }
  EXPECT_EQ(Retry("tasks/site")->retried_clients(), kClients);
  EXPECT_EQ(Counts().declined(), 0);
  EXPECT_EQ(Counts().waiting(), kClients + 1);
}

// A clock that is an hour behind at boot, in a task that nobody may decline.
TEST_F(AttemptsTest, AHindranceIsWaitedForAndIsNoFailure) {
  task::v1::CreateTaskRequest request = NewTask("site");
  request.set_forced(true);
  request.set_max_failures(1);
  request.set_expected_clients(1);
  Open(request);
  auto negotiation = Negotiate();
  const NegotiateResponse waiting = negotiation->Declare(Hindered("clock"));
  EXPECT_EQ(waiting.state(), Participant::STATE_INELIGIBLE);
  EXPECT_EQ(waiting.reason(), "a sentence about clock");
  EXPECT_TRUE(Client().hindered());
  EXPECT_EQ(Counts().hindered(), 1);
  EXPECT_EQ(Counts().ineligible(), 0);
  Restart();
  EXPECT_EQ(Counts().hindered(), 1);
  EXPECT_EQ(Get("tasks/site").state(), Task::STATE_OPEN);
  negotiation = NegotiateAnew();
  // Still so.
  EXPECT_EQ(negotiation->Declare(Hindered("clock")).state(), Participant::STATE_INELIGIBLE);
  ASSERT_EQ(negotiation->Declare().state(), Participant::STATE_OFFERED);
  RunToTheEnd(negotiation.get());
  WaitForTask("tasks/site", Task::STATE_COMPLETED);
}

TEST_F(AttemptsTest, AnOfferIsTakenBackFromAHinderedClientAndComesAgain) {
  Open(NewTask("site"));
  auto negotiation = Negotiate();
  ASSERT_EQ(negotiation->Declare().state(), Participant::STATE_OFFERED);
  ASSERT_EQ(negotiation->Accept().state(), Participant::STATE_ACCEPTED);
  ASSERT_EQ(negotiation->Report(Participant::STATE_STAGED).state(), Participant::STATE_STAGED);
  EXPECT_EQ(negotiation->Declare(Hindered("target_busy")).state(), Participant::STATE_INELIGIBLE);
  // No lease runs meanwhile.
  clock_.Advance(absl::Hours(10));
  EXPECT_EQ(Client().state(), Participant::STATE_INELIGIBLE);
  EXPECT_FALSE(Client().has_lease_time());
  const NegotiateResponse offered = negotiation->Declare();
  EXPECT_EQ(offered.state(), Participant::STATE_OFFERED);
  EXPECT_EQ(offered.attempt(), 2);
  EXPECT_TRUE(offered.has_offer());
}

// An agent that was stopped in the middle says so.
TEST_F(AttemptsTest, ARollBackThatPassesIsNoFailure) {
  task::v1::CreateTaskRequest request = NewTask("site");
  request.set_expected_clients(1);
  Open(request);
  auto negotiation = Negotiate();
  negotiation->CarryOn();
  NegotiateRequest report = negotiation->Message();
  report.mutable_progress()->set_state(Participant::STATE_ROLLED_BACK);
  report.mutable_progress()->set_reason("interrupted");
  report.mutable_progress()->set_passing(true);
  ASSERT_EQ(negotiation->Send(report).state(), Participant::STATE_ROLLED_BACK);
  EXPECT_TRUE(Client().hindered());
  EXPECT_EQ(Counts().hindered(), 1);
  Restart();
  EXPECT_EQ(Get("tasks/site").state(), Task::STATE_OPEN);
  negotiation = NegotiateAnew();
  ASSERT_EQ(negotiation->Declare().state(), Participant::STATE_OFFERED);
  RunToTheEnd(negotiation.get());
  WaitForTask("tasks/site", Task::STATE_COMPLETED);
}

// A lid that is closed in the check.
TEST_F(AttemptsTest, BeingAwayInTheCheckIsNoFailure) {
  task::v1::CreateTaskRequest request = NewTask("site");
  request.set_max_failures(1);
  Open(request);
  const JoinedClient other = Join(task_, "web-2");
  const auto second = Connect(other.key);
  auto negotiation = Negotiate();
  negotiation->CarryOn();
  TestNegotiation(second.get(), other.task).CarryOn();
  clock_.Advance(absl::Minutes(16));
  AdvanceUntil("tasks/site", "web-1", Participant::STATE_TIMED_OUT, absl::ZeroDuration());
  AdvanceUntil("tasks/site", "web-2", Participant::STATE_TIMED_OUT, absl::ZeroDuration());
  EXPECT_EQ(Counts().timed_out(), 2);
  Restart();
  EXPECT_EQ(Get("tasks/site").state(), Task::STATE_OPEN);
  negotiation = NegotiateAnew();
  const NegotiateResponse offered = negotiation->Declare();
  EXPECT_EQ(offered.state(), Participant::STATE_OFFERED);
  EXPECT_EQ(offered.attempt(), 2);
  RunToTheEnd(negotiation.get());
  EXPECT_EQ(Counts().confirmed(), 1);
  // The other never comes back: at the end that is a failure.
  clock_.Advance(absl::Hours(24));
  WaitForTask("tasks/site", Task::STATE_COMPLETED_WITH_ERRORS);
  EXPECT_EQ(Client("web-2").state(), Participant::STATE_TIMED_OUT);
}

TEST_F(AttemptsTest, AnOfferThatRanOutWhileTheClientWasAwayComesAgain) {
  task::v1::CreateTaskRequest request = NewTask("site");
  request.mutable_leases()->mutable_answer()->set_seconds(60);
  Open(request);
  auto negotiation = Negotiate();
  ASSERT_EQ(negotiation->Declare().state(), Participant::STATE_OFFERED);
  clock_.Advance(absl::Seconds(61));
  AdvanceUntil("tasks/site", "web-1", Participant::STATE_TIMED_OUT, absl::ZeroDuration());
  EXPECT_EQ(Client().reason(), "answer_lease");
  // Also on the stream that has stayed.
  const NegotiateResponse offered = negotiation->Declare();
  EXPECT_EQ(offered.state(), Participant::STATE_OFFERED);
  EXPECT_EQ(offered.attempt(), 2);
}

TEST_F(AttemptsTest, FollowFromWhatTheDiskHasNotFromWhatWasConfirmed) {
  Open(NewTask("site"));
  auto negotiation = Negotiate();
  ASSERT_EQ(negotiation->Declare(Installed("")).state(), Participant::STATE_OFFERED);
  RunToTheEnd(negotiation.get());
  EXPECT_EQ(Client().installed_revision(), 1);
  negotiation = Negotiate();
  ASSERT_EQ(negotiation->Declare(Installed(Digest())).state(), Participant::STATE_CONFIRMED);
  EXPECT_FALSE(Client().drifted());
  // The folder was removed.
  negotiation = Negotiate();
  ASSERT_EQ(negotiation->Declare().state(), Participant::STATE_OFFERED);
  EXPECT_TRUE(Client().drifted());
  EXPECT_EQ(Counts().confirmed(), 0);
  EXPECT_EQ(Counts().waiting(), 1);
  Restart();
  EXPECT_TRUE(Client().drifted());
  negotiation = NegotiateAnew();
  ASSERT_EQ(negotiation->Declare().state(), Participant::STATE_OFFERED);
  RunToTheEnd(negotiation.get());
  EXPECT_FALSE(Client().drifted());
  // A file was edited; then the machine was put back to a snapshot that has it right.
  negotiation = Negotiate();
  ASSERT_EQ(negotiation->Declare(Installed(std::string(32, 'x'))).state(), Participant::STATE_OFFERED);
  EXPECT_TRUE(Client().drifted());
  ASSERT_EQ(negotiation->Declare(Installed(Digest())).state(), Participant::STATE_UP_TO_DATE);
  EXPECT_FALSE(Client().drifted());
}

TEST_F(AttemptsTest, ThatAreNoLongerMadeLeaveADriftToBeSeen) {
  task::v1::CreateTaskRequest request = NewTask("site");
  request.set_expected_clients(1);
  Open(request);
  auto negotiation = Negotiate();
  ASSERT_EQ(negotiation->Declare().state(), Participant::STATE_OFFERED);
  RunToTheEnd(negotiation.get());
  WaitForTask("tasks/site", Task::STATE_COMPLETED);
  negotiation = Negotiate();
  const NegotiateResponse drifted = negotiation->Declare(Installed(std::string(32, 'x')));
  EXPECT_EQ(drifted.state(), Participant::STATE_CONFIRMED);
  EXPECT_EQ(drifted.reason(), "what is installed is not what was confirmed");
  EXPECT_TRUE(Client().drifted());
  EXPECT_EQ(Get("tasks/site").state(), Task::STATE_COMPLETED);
  EXPECT_EQ(Counts().confirmed(), 1);
}

TEST_F(AttemptsTest, AreNotMadeForFilesThatAnotherTaskHasTakenOver) {
  Open(NewTask("site"));
  auto negotiation = Negotiate();
  ASSERT_EQ(negotiation->Declare().state(), Participant::STATE_OFFERED);
  RunToTheEnd(negotiation.get());
  Declaration taken = Installed(std::string(32, 'x'));
  taken.set_taken_over("tasks/other has installed over a.conf of tasks/site");
  negotiation = Negotiate();
  const NegotiateResponse answer = negotiation->Declare(taken);
  EXPECT_EQ(answer.state(), Participant::STATE_INELIGIBLE);
  EXPECT_EQ(answer.reason(), taken.taken_over());
  EXPECT_TRUE(Client().drifted());
  EXPECT_FALSE(Client().hindered());
  Restart();
  negotiation = NegotiateAnew();
  EXPECT_EQ(negotiation->Declare(taken).state(), Participant::STATE_INELIGIBLE);
  // Not with all that failed, but when it is named.
  EXPECT_EQ(Retry("tasks/site")->retried_clients(), 0);
  EXPECT_EQ(Retry("tasks/site", {"web-1"})->retried_clients(), 1);
  NegotiateResponse pushed = negotiation->Read();
  while (pushed.state() == Participant::STATE_QUEUED) pushed = negotiation->Read();
  EXPECT_EQ(pushed.state(), Participant::STATE_OFFERED);
}

// Five devices whose targets are a mount, a file, below a missing folder, without permission, and have a pipe.
TEST_F(AttemptsTest, OfClientsThatCannotBeginAreWaitedForAndAllAreSeen) {
  task::v1::CreateTaskRequest request = NewTask("site");
  request.set_expected_clients(5);
  (*request.mutable_selector())["role"] = "web";
  const auto task = Create(request);
  ASSERT_TRUE(task.ok()) << task.status();
  task_ = *task;
  const std::vector<std::string> codes = {"target_mount", "target_file", "target_missing", "target_permission",
                                          "target_pipe"};
  std::vector<std::unique_ptr<TaskdTestClient>> clients;
  std::vector<std::unique_ptr<TestNegotiation>> negotiations;
  std::vector<JoinedClient> members;
  for (const std::string& code : codes) {
    const std::string name = absl::StrCat("web-", members.size());
    const auto device = Connect(access::v1::ROLE_DEVICE, name);
    task::v1::JoinRequest join = NewJoin(name);
    join.set_task("tasks/site");
    Label(name, {{"role", "web"}});
    const auto joined = device->Call(&device->participation(), &ParticipationService::Stub::Join, join);
    ASSERT_TRUE(joined.ok()) << joined.status();
    members.push_back({"tasks/site", name, {joined->identity(), Secret::CopyOf(joined->secret())}});
    clients.push_back(Connect(members.back().key));
    negotiations.push_back(std::make_unique<TestNegotiation>(clients.back().get(), "tasks/site"));
    EXPECT_EQ(negotiations.back()->Declare(Hindered(code)).state(), Participant::STATE_INELIGIBLE);
  }
  task::v1::ListParticipantsRequest list;
  list.set_parent("tasks/site");
  const auto listed = op().Call(&op().tasks(), &TaskService::Stub::ListParticipants, list);
  ASSERT_EQ(listed->participants_size(), 5);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(listed->participants(i).reason(), codes[i]);
    EXPECT_EQ(listed->participants(i).detail(), absl::StrCat("a sentence about ", codes[i]));
    EXPECT_TRUE(listed->participants(i).hindered());
    EXPECT_TRUE(listed->participants(i).connected());
  }
  EXPECT_EQ(Counts().hindered(), 5);
  EXPECT_EQ(Get("tasks/site").state(), Task::STATE_OPEN);
  for (size_t i = 0; i < negotiations.size(); ++i) {
    ASSERT_EQ(negotiations[i]->Declare().state(), Participant::STATE_OFFERED);
    negotiations[i]->Apply();
    const auto fresh = Connect(members[i].key);
    ASSERT_TRUE(Confirm(fresh.get(), "tasks/site", Digest()).ok());
  }
  WaitForTask("tasks/site", Task::STATE_COMPLETED);
}

TEST_F(AttemptsTest, OfAClientThatDeclaresTheSameAgainStoreNothing) {
  Open(NewTask("site"));
  auto negotiation = Negotiate();
  Declaration declaration = Hindered("clock");
  declaration.set_instance(std::string(16, 'a'));
  negotiation->Declare(declaration);
  const int64_t version = Client().version();
  const int64_t revision = *store_->Revision();
  for (int i = 0; i < 5; ++i) negotiation->Declare(declaration);
  for (int i = 0; i < 5; ++i) Negotiate()->Declare(declaration);
  EXPECT_EQ(Client().version(), version);
  EXPECT_EQ(*store_->Revision(), revision);
}

// Hindered and not, as fast as it can, on one stream and on many: the store is written at the pace of the clock.
TEST_F(AttemptsTest, OfAClientThatFlapsAreSlowedDown) {
  Open(NewTask("site"));
  const auto flap = [](int i) { return i % 2 == 0 ? Hindered("clock") : Declaration(); };
  auto negotiation = Negotiate();
  for (int i = 0; i < 20; ++i) negotiation->Declare(flap(i));
  const int64_t version = Client().version();
  // The next one waits, and so does what comes behind it, also on another stream.
  NegotiateRequest request = negotiation->Message();
  *request.mutable_declare() = flap(20);
  request.mutable_declare()->add_encodings("zstd");
  request.set_sequence(100);
  ASSERT_TRUE(negotiation->Write(request));
  ASSERT_TRUE(Pause("tasks/site").ok());
  EXPECT_EQ(Client().version(), version);
  clock_.Advance(absl::Seconds(2));
  NegotiateResponse answer = negotiation->Read();
  while (answer.sequence() != 100) answer = negotiation->Read();
  EXPECT_EQ(answer.state(), Participant::STATE_INELIGIBLE);
  EXPECT_EQ(Client().version(), version + 1);
}

// Hints of the connection, for who looks at the list.
TEST_F(AttemptsTest, ShowWhetherTheClientIsThere) {
  Open(NewTask("site"));
  EXPECT_FALSE(Client().connected());
  EXPECT_FALSE(Client().has_disconnect_time());
  auto negotiation = Negotiate();
  negotiation->Declare();
  EXPECT_TRUE(Client().connected());
  EXPECT_FALSE(Client().has_disconnect_time());
  negotiation->Cancel();
  while (Client().connected() && !HasFailure()) {
  }
  EXPECT_EQ(ToTime(Client().disconnect_time()), clock_.Now());
}

TEST_F(AttemptsTest, AreRefusedWhenADeclarationIsMalformed) {
  Open(NewTask("site"));
  const auto reason = [this](auto change) {
    Declaration declaration;
    change(&declaration);
    auto negotiation = Negotiate();
    negotiation->Declare(declaration);
    return Reason(negotiation->Finish());
  };
  EXPECT_EQ(reason([](Declaration* d) { d->mutable_hindrance(); }), "HINDRANCE_CODE");
  EXPECT_EQ(reason([](Declaration* d) { d->mutable_hindrance()->set_code("Disk full"); }), "HINDRANCE_CODE");
  EXPECT_EQ(reason([](Declaration* d) { d->set_setup_digest("short"); }), "DIGEST_MALFORMED");
  EXPECT_EQ(reason([](Declaration* d) { d->set_instance("short"); }), "INSTANCE_MALFORMED");
  EXPECT_EQ(reason([](Declaration* d) { d->set_taken_over(std::string(5000, 'x')); }), "TEXT_TOO_LONG");
  for (const char* text : {"\xff", "\xc3", "\xed\xa0\x80", "\xf8\x88\x80\x80\x80"}) {
    EXPECT_EQ(reason([text](Declaration* d) { d->set_taken_over(text); }), "MESSAGE_UNREADABLE");
    EXPECT_EQ(reason([text](Declaration* d) {
                d->mutable_hindrance()->set_code("clock");
                d->mutable_hindrance()->set_detail(text);
              }),
              "MESSAGE_UNREADABLE");
  }
  EXPECT_EQ(Client().state(), Participant::STATE_JOINED);
}

// What a service of an earlier version has stored, and what a client of an earlier version says: all goes on.
TEST_F(AttemptsTest, OfEarlierVersionsGoOn) {
  Open(NewTask("site"));
  auto negotiation = Negotiate();
  negotiation->Declare();
  negotiation->FailTheCheck();
  negotiation->Cancel();
  const std::string key = ParticipantKey("site", "web-1");
  ParticipantRecord record;
  ASSERT_TRUE(record.ParseFromString(store_->Get(key)->value));
  record.clear_failed_circumstances();
  record.clear_digest_at_offer();
  record.mutable_participant()->clear_installed_revision();
  store::Transaction transaction;
  transaction.Set(key, record.SerializeAsString());
  ASSERT_TRUE(store_->Commit(std::move(transaction)).ok());
  Restart();
  // It failed, and it says nothing new.
  negotiation = NegotiateAnew();
  EXPECT_EQ(negotiation->Declare().state(), Participant::STATE_ROLLED_BACK);
  // A new revision, and an operator, lead on.
  ASSERT_TRUE(Publish("tasks/site", "second").ok());
  NegotiateResponse pushed = negotiation->Read();
  EXPECT_EQ(pushed.state(), Participant::STATE_OFFERED);
  EXPECT_EQ(pushed.attempt(), 1);
  negotiation->FailTheCheck();
  ASSERT_EQ(Retry("tasks/site")->retried_clients(), 1);
  pushed = negotiation->Read();
  while (pushed.state() == Participant::STATE_QUEUED) pushed = negotiation->Read();
  ASSERT_EQ(pushed.state(), Participant::STATE_OFFERED);
  negotiation->Apply();
  const auto fresh = Connect(member_.key);
  const std::string digest = Get("tasks/site").payload_digest();
  ASSERT_TRUE(Confirm(fresh.get(), "tasks/site", digest, Client().attempt()).ok());
  negotiation = Negotiate();
  EXPECT_EQ(negotiation->Declare(Installed(digest)).state(), Participant::STATE_CONFIRMED);
}

}  // namespace
}  // namespace parley::taskd
