// Tasks that go, when somebody deletes them or when they ended long ago, with all that was kept of them.
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/crypto/kdf.h"
#include "services/taskd/store/keys.h"
#include "services/taskd/store/records.pb.h"
#include "services/taskd/store/task_store.h"
#include "services/taskd/tasks/removal.h"
#include "services/taskd/testing/taskd_testing.h"

namespace parley::taskd {
namespace {

class DeletionTest : public TaskdTest {
 protected:
  absl::Status Delete(const std::string& task, const std::string& etag = "") {
    task::v1::DeleteTaskRequest request;
    request.set_name(task);
    request.set_etag(etag);
    return op().Call(&op().tasks(), &TaskService::Stub::DeleteTask, request).status();
  }
  absl::Status TryGet(const std::string& task) {
    task::v1::GetTaskRequest request;
    request.set_name(task);
    return op().Call(&op().tasks(), &TaskService::Stub::GetTask, request).status();
  }
  std::vector<std::string> ListTasks() {
    const auto listed = op().Call(&op().tasks(), &TaskService::Stub::ListTasks, task::v1::ListTasksRequest());
    EXPECT_TRUE(listed.ok()) << listed.status();
    std::vector<std::string> names;
    for (const Task& task : listed->tasks()) names.push_back(task.name());
    return names;
  }
  // The keys of what is stored of a task.
  std::vector<std::string> KeysOf(const std::string& task) {
    std::vector<std::string> keys;
    for (const store::Entry& entry : List({})) {
      if (absl::StrContains(entry.key, "/" + task)) keys.push_back(entry.key);
    }
    return keys;
  }
  std::vector<store::Entry> List(const KeyRange& range, size_t limit = 0) {
    const auto page = store_->List(range, limit);
    return page.ok() ? page->entries : std::vector<store::Entry>();
  }
  size_t CountChunks() { return store_->List(KeyRange::Prefix("c/"))->entries.size(); }
  // Nothing but commits of the service is between.
  void WaitUntilRemoved(const std::string& task, size_t chunks = 0) {
    const auto is_removed = [&] {
      return KeysOf(task).empty() && CountChunks() == chunks && !store_->Get(kSweepDueKey).ok();
    };
    while (!is_removed() && !HasFailure()) {
    }
  }
  // Ends the task, and waits until its clients have ended too.
  void End(const std::string& task) {
    ASSERT_TRUE(Abort(TaskName(task), "over").ok());
    while (store_->Get(UnsettledKey(task)).ok()) {
    }
  }
  static std::string TaskName(const std::string& task) { return "tasks/" + task; }
};

TEST_F(DeletionTest, IsRefusedUntilTheTaskAndItsClientsHaveEnded) {
  const auto task = Create(NewTask("site"));
  const JoinedClient member = Join(*task, "web-1");
  absl::Status refused = Delete(member.task);
  EXPECT_EQ(Reason(refused), "TASK_NOT_ENDED");
  EXPECT_EQ(refused.message(), "tasks/site has not ended; abort it before you delete it");
  const auto client = Connect(member.key);
  TestNegotiation negotiation(client.get(), member.task);
  negotiation.CarryOn();
  ASSERT_TRUE(Abort(member.task, "over").ok());
  refused = Delete(member.task);
  EXPECT_EQ(Reason(refused), "TASK_NOT_ENDED");
  EXPECT_EQ(refused.message(),
            "tasks/site has ended, but clients of it are still at work; delete it when they have ended too");
  EXPECT_EQ(Get(member.task).counts().joined(), 1);
  const auto fresh = Connect(member.key);
  ASSERT_TRUE(Confirm(fresh.get(), member.task, task->task().payload_digest()).ok());
  while (store_->Get(UnsettledKey("site")).ok()) {
  }
  EXPECT_EQ(Reason(Delete(member.task, "1")), "ETAG_DIFFERS");
  EXPECT_TRUE(Delete(member.task, Get(member.task).etag()).ok());
  EXPECT_EQ(audit_.Count("task.deleted"), 1);
  EXPECT_EQ(Reason(Delete(member.task)), "TASK_NOT_FOUND");
}

TEST_F(DeletionTest, TakesAllThatIsKeptOfTheTaskAndNothingElse) {
  ASSERT_TRUE(Create(NewTask("other")).ok());
  const size_t before = store_->List({})->entries.size();
  task::v1::CreateTaskRequest request = NewTask("site");
  request.mutable_files()->mutable_files(0)->set_content("of this one alone");
  clock_.Advance(absl::Seconds(1));
  const auto task = Create(request);
  ASSERT_TRUE(task.ok()) << task.status();
  std::vector<JoinedClient> members;
  // More than one commit takes.
  for (int i = 0; i < 60; ++i) members.push_back(Join(*task, absl::StrCat("web-", i)));
  ASSERT_TRUE(RevokeParticipant(TaskName("site"), "web-7").ok());
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Publish(TaskName("site"), absl::StrCat("content ", i)).ok());
  const size_t others_chunks = CountChunks() - 4;
  End("site");
  EXPECT_EQ(ListTasks(), (std::vector<std::string>{"tasks/site", "tasks/other"}));

  ASSERT_TRUE(Delete(TaskName("site")).ok());
  EXPECT_EQ(Reason(TryGet(TaskName("site"))), "TASK_NOT_FOUND");
  EXPECT_EQ(ListTasks(), std::vector<std::string>{"tasks/other"});
  WaitUntilRemoved("site", others_chunks);
  // What is left are revoked keys and requests, which go with time, and that chunks were doomed.
  size_t left = 0;
  for (const store::Entry& entry : List({})) {
    if (!absl::StartsWith(entry.key, "x/") && !absl::StartsWith(entry.key, "q/") && entry.key != "w/doomed") ++left;
  }
  EXPECT_EQ(left, before - 1);
  EXPECT_TRUE(TryGet(TaskName("other")).ok());
  // The keys are dead, and belong to nobody of a later task of that name.
  request.set_request_id(crypto::RandomUuid());
  const auto again = Create(request);
  ASSERT_TRUE(again.ok()) << again.status();
  Join(*again, "web-1");
  const auto former = [&] { return Confirm(Connect(members[1].key).get(), members[1].task, "").status(); };
  EXPECT_FALSE(former().ok());
  // The door hears of it a moment later.
  while (Reason(former()) != "KEY_REFUSED") {
  }
  const auto joiner = Connect(KeyOf(ParseJoinKey(task->join_key().pasted())));
  EXPECT_FALSE(joiner->Call(&joiner->participation(), &ParticipationService::Stub::Join, NewJoin("web-2")).ok());
}

TEST_F(DeletionTest, MayComeRightAfterTheEnd) {
  for (int i = 0; i < 20; ++i) {
    const auto task = Create(NewTask(absl::StrCat("site-", i)));
    for (int client = 0; client < 3; ++client) Join(*task, absl::StrCat("web-", client));
    ASSERT_TRUE(Abort(task->task().name(), "over").ok());
    const absl::Status deleted = Delete(task->task().name());
    EXPECT_TRUE(deleted.ok()) << deleted;
  }
  WaitUntilRemoved("site");
}

TEST_F(DeletionTest, LeavesContentThatAnotherTaskHasToo) {
  const auto kept = Create(NewTask("kept"));
  const JoinedClient member = Join(*kept, "web-1");
  ASSERT_TRUE(Create(NewTask("gone")).ok());
  const size_t chunks = CountChunks();
  End("gone");
  ASSERT_TRUE(Delete(TaskName("gone")).ok());
  WaitUntilRemoved("gone", chunks);
  Restart();
  const auto client = Connect(member.key);
  TestNegotiation negotiation(client.get(), member.task);
  const NegotiateResponse offered = negotiation.Declare();
  negotiation.Accept();
  task::v1::Manifest manifest;
  ASSERT_TRUE(manifest.ParseFromString(offered.offer().manifest().manifest()));
  task::v1::FetchChunksRequest request;
  request.set_task(member.task);
  request.set_revision(1);
  for (const std::string& digest : manifest.files(0).chunks()) request.add_chunks()->set_digest(digest);
  grpc::ClientContext context;
  TaskdTestClient::SetDeadline(&context);
  const auto reader = client->artifacts().FetchChunks(&context, request);
  task::v1::FetchChunksResponse piece;
  while (reader->Read(&piece)) {
  }
  EXPECT_TRUE(client->Explain(reader->Finish()).ok());
}

TEST_F(DeletionTest, EndsWithANoteForThoseWhoWatch) {
  ASSERT_TRUE(Create(NewTask("site")).ok());
  task::v1::WatchTaskRequest request;
  request.set_name(TaskName("site"));
  grpc::ClientContext context, later;
  TaskdTestClient::SetDeadline(&context);
  TaskdTestClient::SetDeadline(&later);
  const auto watch = op().tasks().WatchTask(&context, request);
  task::v1::WatchTaskResponse response;
  ASSERT_TRUE(watch->Read(&response));
  request.set_cursor(response.cursor());
  End("site");
  ASSERT_TRUE(Delete(TaskName("site")).ok());
  while (watch->Read(&response)) {
  }
  const absl::Status ended = op().Explain(watch->Finish());
  EXPECT_TRUE(ended.ok() ? response.task().state() == Task::STATE_ABORTED : Reason(ended) == "TASK_NOT_FOUND") << ended;
  // From where it was.
  const auto resumed = op().tasks().WatchTask(&later, request);
  EXPECT_FALSE(resumed->Read(&response));
  EXPECT_EQ(Reason(op().Explain(resumed->Finish())), "TASK_NOT_FOUND");
}

TEST_F(DeletionTest, GoesOnAfterARestartWhereverItWasCutOff) {
  const auto task = Create(NewTask("site"));
  for (int i = 0; i < 30; ++i) Join(*task, absl::StrCat("web-", i));
  ASSERT_TRUE(Publish(TaskName("site"), "second").ok());
  End("site");
  Stop();
  // It was cut off after the first commit, and after some of the records.
  Open();
  const TaskStore tasks(store_.get());
  ASSERT_TRUE(store_->Commit(*BeginRemoval(tasks, *tasks.GetTask("site"))).ok());
  store::Transaction some;
  for (const store::Entry& entry : List(ParticipantRange("site"), 7)) some.Delete(entry.key);
  ASSERT_TRUE(store_->Commit(std::move(some)).ok());
  Close();
  Start();
  WaitUntilRemoved("site");
  EXPECT_TRUE(ListTasks().empty());
  EXPECT_TRUE(Create(NewTask("site")).ok());
}

TEST_F(DeletionTest, HoldsTheNameUntilNothingIsLeft) {
  Stop();
  Open();
  RemovalRecord removal;
  removal.set_revisions(1);
  // Which cannot be removed yet.
  ASSERT_TRUE(store_
                  ->Commit(store::Transaction()
                               .Set(RemovalKey("site"), removal.SerializeAsString())
                               .Set(ParticipantKey("site", "web-1"), "\xff damaged"))
                  .ok());
  Close();
  Start();
  EXPECT_EQ(Reason(Create(NewTask("site")).status()), "TASK_BEING_REMOVED");
  ASSERT_TRUE(store_->Commit(store::Transaction().Delete(ParticipantKey("site", "web-1"))).ok());
  clock_.Advance(absl::Minutes(1));
  while (store_->Get(RemovalKey("site")).ok()) {
  }
  EXPECT_TRUE(Create(NewTask("site")).ok());
}

TEST_F(DeletionTest, IsNoHindranceForTheEndOfTheCreatorsCredential) {
  const std::string serial = crypto::RandomBytes(16);
  const auto oscar = Connect(MintAgain(access::v1::ROLE_OPERATOR, "oscar", serial));
  ASSERT_TRUE(oscar->Call(&oscar->tasks(), &TaskService::Stub::CreateTask, NewTask("site")).ok());
  End("site");
  ASSERT_TRUE(Delete(TaskName("site")).ok());
  RevokeCredential(serial);
  task::v1::AwaitEndedKeysRequest request;
  request.add_credentials(absl::StrCat("credentials/", HexEncode(serial)));
  const auto ended = op().Call(&op().tasks(), &TaskService::Stub::AwaitEndedKeys, request);
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->open_tasks_size(), 0);
  WaitUntilRemoved("site");
}

TEST_F(DeletionTest, ComesByItselfThirtyDaysAfterTheEnd) {
  ASSERT_TRUE(Create(NewLongTask("open")).ok());
  ASSERT_TRUE(Create(NewLongTask("late")).ok());
  ASSERT_TRUE(Create(NewTask("early")).ok());
  End("early");
  clock_.Advance(absl::Hours(24));
  End("late");
  clock_.Advance(absl::Hours(24 * 29) - absl::Minutes(1));
  EXPECT_TRUE(TryGet(TaskName("early")).ok());
  clock_.Advance(absl::Hours(1));
  while (!KeysOf("early").empty()) {
  }
  EXPECT_EQ(ListTasks(), (std::vector<std::string>{"tasks/late", "tasks/open"}));
  EXPECT_EQ(audit_.Count("task.deleted"), 1);
  clock_.Advance(absl::Hours(24));
  while (!KeysOf("late").empty()) {
  }
  clock_.Advance(absl::Hours(24 * 40));
  EXPECT_EQ(ListTasks(), std::vector<std::string>{"tasks/open"});
}

TEST_F(DeletionTest, DoesNotComeFromAClockThatIsSetForward) {
  // No time passes.
  steady_ = [] { return absl::ZeroDuration(); };
  Restart();
  ASSERT_TRUE(Create(NewTask("site")).ok());
  End("site");
  for (int i = 0; i < 40; ++i) clock_.Advance(absl::Hours(24));
  EXPECT_TRUE(TryGet(TaskName("site")).ok());
  EXPECT_EQ(audit_.Count("task.deleted"), 0);
}

TEST_F(DeletionTest, CanBeForbidden) {
  retention_ = absl::InfiniteDuration();
  Restart();
  ASSERT_TRUE(Create(NewTask("site")).ok());
  End("site");
  clock_.Advance(absl::Hours(24 * 80));
  EXPECT_TRUE(TryGet(TaskName("site")).ok());
}

TEST_F(DeletionTest, MakesRoomWhereContentIsBounded) {
  chunks_.max_stored_bytes = 400 * 1024;
  chunks_.more_room = "take a folder";
  Restart();
  // About 256 KiB and something that do not compress.
  const auto large = [](const std::string& name) {
    task::v1::CreateTaskRequest request = NewTask(name);
    request.mutable_files()->mutable_files(0)->set_content(crypto::RandomBytes(300 * 1024));
    return request;
  };
  ASSERT_TRUE(Create(large("first")).ok());
  const absl::Status full = Create(large("second")).status();
  EXPECT_EQ(Reason(full), "CHUNKS_FULL");
  EXPECT_TRUE(absl::EndsWith(full.message(), "take a folder")) << full;
  EXPECT_EQ(Reason(TryGet(TaskName("second"))), "TASK_NOT_FOUND");
  End("first");
  ASSERT_TRUE(Delete(TaskName("first")).ok());
  WaitUntilRemoved("first");
  EXPECT_TRUE(Create(large("third")).ok());
}

}  // namespace
}  // namespace parley::taskd
