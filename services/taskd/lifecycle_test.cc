// What time, counts and operators do to tasks; restarts; watching.
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/crypto/hash.h"
#include "lib/crypto/kdf.h"
#include "lib/crypto/signature.h"
#include "lib/payload/chunk.h"
#include "lib/payload/manifest.h"
#include "services/taskd/testing/taskd_testing.h"

namespace parley::taskd {
namespace {

using task::v1::WatchTaskResponse;

class LifecycleTest : public TaskdTest {
 protected:
  // Brings a client from Join to the state; its stream is broken off then.
  void Bring(const task::v1::CreateTaskResponse& task, const std::string& name, Participant::State state) {
    const JoinedClient member = Join(task, name);
    const auto client = Connect(member.key);
    TestNegotiation negotiation(client.get(), member.task);
    if (state == Participant::STATE_DECLINED) {
      negotiation.Declare();
      NegotiateRequest decline = negotiation.Message();
      decline.mutable_decline()->set_code("policy");
      ASSERT_EQ(negotiation.Send(decline).state(), Participant::STATE_DECLINED);
      return;
    }
    negotiation.CarryOn();
    if (state == Participant::STATE_ROLLED_BACK) {
      EXPECT_EQ(negotiation.Report(Participant::STATE_ROLLING_BACK).state(), Participant::STATE_ROLLING_BACK);
      EXPECT_EQ(negotiation.Report(state).state(), state);
    } else if (state == Participant::STATE_CONFIRMED) {
      const auto fresh = Connect(member.key);
      ASSERT_TRUE(Confirm(fresh.get(), member.task, task.task().payload_digest()).ok());
    }
  }

  // A task that so many failures do not halt.
  absl::StatusOr<task::v1::CreateTaskResponse> CreateBearing(int failures) {
    task::v1::CreateTaskRequest request = NewTask("site");
    request.set_max_failures(failures);
    return Create(request);
  }

  class Watcher {
   public:
    Watcher(TaskdTestClient* client, const std::string& task, int64_t cursor = 0) : client_(client) {
      TaskdTestClient::SetDeadline(&context_);
      task::v1::WatchTaskRequest request;
      request.set_name(task);
      request.set_cursor(cursor);
      stream_ = client->tasks().WatchTask(&context_, request);
    }
    ~Watcher() { context_.TryCancel(); }
    bool Read() {
      WatchTaskResponse response;
      if (!stream_->Read(&response)) return false;
      if (response.cursor() != 0) cursor = response.cursor();
      if (response.has_task()) task = response.task();
      for (const Participant& participant : response.participants()) {
        states[participant.name()] = participant.state();
      }
      return true;
    }
    absl::Status Finish() {
      while (Read()) {
      }
      return client_->Explain(stream_->Finish());
    }

    int64_t cursor = 0;
    Task task;
    std::map<std::string, Participant::State> states;

   private:
    TaskdTestClient* const client_;
    grpc::ClientContext context_;
    std::unique_ptr<grpc::ClientReader<WatchTaskResponse>> stream_;
  };
};

TEST_F(LifecycleTest, CreatesATaskOnceARequest) {
  task::v1::CreateTaskRequest request = NewTask("");
  const auto first = Create(request);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->task().name().substr(0, 23), "tasks/new-certificates-");
  const auto second = Create(request);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->task().name(), first->task().name());
  EXPECT_EQ(second->join_key().pasted(), first->join_key().pasted());
  request.set_title("other");
  EXPECT_EQ(Reason(Create(request).status()), "REQUEST_ID_REUSED");
  clock_.Advance(absl::Hours(25));
  EXPECT_TRUE(Create(NewTask("site")).ok());
  EXPECT_EQ(Reason(Create(NewTask("site")).status()), "TASK_EXISTS");
}

TEST_F(LifecycleTest, RefusesBadInput) {
  const auto reason = [this](auto change) {
    task::v1::CreateTaskRequest request = NewTask("site");
    change(&request);
    return Reason(Create(request).status());
  };
  EXPECT_EQ(reason([](auto* r) { r->mutable_files()->clear_files(); }), "PAYLOAD_EMPTY");
  EXPECT_EQ(reason([](auto* r) { r->mutable_files()->mutable_files(0)->set_path("../x"); }), "PATH_ESCAPES");
  EXPECT_EQ(reason([](auto* r) { r->mutable_files()->mutable_files(0)->set_path("/etc/x"); }), "PATH_ABSOLUTE");
  EXPECT_EQ(reason([](auto* r) { r->mutable_files()->mutable_files(0)->set_mode(04755); }), "FILE_MODE");
  EXPECT_EQ(reason([](auto* r) { *r->mutable_files()->add_files() = r->files().files(0); }), "PATH_TWICE");
  EXPECT_EQ(reason([](auto* r) { r->mutable_ttl()->set_seconds(0); }), "TTL_OUT_OF_RANGE");
  EXPECT_EQ(reason([](auto* r) { r->set_supersedes("tasks/nowhere"); }), "TASK_NOT_FOUND");
  task::v1::ListTasksRequest list;
  EXPECT_EQ(op().Call(&op().tasks(), &TaskService::Stub::ListTasks, list)->tasks_size(), 0);
}

TEST_F(LifecycleTest, ListsNewestFirstPageByPage) {
  for (const char* id : {"one", "two", "three"}) {
    ASSERT_TRUE(Create(NewTask(id)).ok());
    clock_.Advance(absl::Seconds(1));
  }
  ASSERT_TRUE(Pause("tasks/two").ok());
  task::v1::ListTasksRequest list;
  list.set_page_size(2);
  auto page = op().Call(&op().tasks(), &TaskService::Stub::ListTasks, list);
  ASSERT_EQ(page->tasks_size(), 2);
  EXPECT_EQ(page->tasks(0).name(), "tasks/three");
  list.set_page_token(page->next_page_token());
  page = op().Call(&op().tasks(), &TaskService::Stub::ListTasks, list);
  ASSERT_EQ(page->tasks_size(), 1);
  EXPECT_EQ(page->tasks(0).name(), "tasks/one");
  EXPECT_EQ(page->next_page_token(), "");
  list.clear_page_token();
  list.add_states(Task::STATE_PAUSED);
  EXPECT_EQ(op().Call(&op().tasks(), &TaskService::Stub::ListTasks, list)->tasks(0).name(), "tasks/two");
  list.set_page_token("nonsense!");
  EXPECT_EQ(Reason(op().Call(&op().tasks(), &TaskService::Stub::ListTasks, list).status()), "PAGE_TOKEN");
}

TEST_F(LifecycleTest, ChangesOnlyWhatWasSeen) {
  const auto task = Create(NewTask("site"));
  ASSERT_TRUE(Pause("tasks/site").ok());
  task::v1::ResumeTaskRequest resume;
  resume.set_name("tasks/site");
  resume.set_etag(task->task().etag());
  const auto stale = op().Call(&op().tasks(), &TaskService::Stub::ResumeTask, resume);
  EXPECT_EQ(stale.status().code(), absl::StatusCode::kAborted);
  resume.set_etag(Get("tasks/site").etag());
  EXPECT_TRUE(op().Call(&op().tasks(), &TaskService::Stub::ResumeTask, resume).ok());
}

TEST_F(LifecycleTest, CompletesWithTheLastExpectedClient) {
  task::v1::CreateTaskRequest request = NewTask("site");
  request.set_expected_clients(2);
  const auto task = Create(request);
  Join(*task, "web-3");
  Bring(*task, "web-1", Participant::STATE_CONFIRMED);
  EXPECT_EQ(Get("tasks/site").state(), Task::STATE_OPEN);
  Bring(*task, "web-2", Participant::STATE_CONFIRMED);
  WaitForTask("tasks/site", Task::STATE_COMPLETED);
  AdvanceUntil("tasks/site", "web-3", Participant::STATE_CANCELED, absl::ZeroDuration());
  EXPECT_EQ(Get("tasks/site").counts().canceled(), 1);
}

TEST_F(LifecycleTest, IsNotCompletedWithoutErrorsByARefusal) {
  task::v1::CreateTaskRequest request = NewTask("site");
  request.set_expected_clients(1);
  const auto task = Create(request);
  Bring(*task, "web-1", Participant::STATE_DECLINED);
  WaitForTask("tasks/site", Task::STATE_COMPLETED_WITH_ERRORS);
}

TEST_F(LifecycleTest, HaltsAfterTooManyFailures) {
  const auto task = CreateBearing(1);
  Bring(*task, "web-1", Participant::STATE_ROLLED_BACK);
  // The count must be right after a restart.
  Restart();
  EXPECT_EQ(Get("tasks/site").state(), Task::STATE_OPEN);
  Bring(*task, "web-2", Participant::STATE_ROLLED_BACK);
  WaitForTask("tasks/site", Task::STATE_HALTED);
  EXPECT_EQ(Get("tasks/site").counts().rolled_back(), 2);
}

TEST_F(LifecycleTest, TakesOffersBackWhenItHaltsAndMakesThemAgainWhenItIsResumed) {
  const auto task = CreateBearing(0);
  const auto accepted = Connect(Join(*task, "web-1").key);
  TestNegotiation waiting(accepted.get(), "tasks/site");
  waiting.Declare();
  ASSERT_EQ(waiting.Accept().state(), Participant::STATE_ACCEPTED);
  Bring(*task, "web-2", Participant::STATE_CHECKING);
  Bring(*task, "web-3", Participant::STATE_ROLLED_BACK);
  WaitForTask("tasks/site", Task::STATE_HALTED);
  EXPECT_EQ(Get("tasks/site").state_reason(), "halted after 1 failure, over the limit of 0");
  const NegotiateResponse taken_back = waiting.Read();
  EXPECT_EQ(taken_back.state(), Participant::STATE_QUEUED);
  EXPECT_EQ(taken_back.task_state(), Task::STATE_HALTED);
  EXPECT_EQ(GetParticipant("tasks/site", "web-1").reason(), "task_halted");
  waiting.Cancel();

  Restart();
  const auto newcomer = Connect(Join(*task, "web-4").key);
  TestNegotiation later(newcomer.get(), "tasks/site");
  EXPECT_EQ(later.Declare().state(), Participant::STATE_QUEUED);
  ASSERT_TRUE(Resume("tasks/site").ok());
  EXPECT_EQ(Get("tasks/site").state(), Task::STATE_OPEN);
  EXPECT_EQ(Get("tasks/site").state_reason(), "");
  EXPECT_EQ(later.Read().state(), Participant::STATE_OFFERED);
  // Another one is one too many again.
  Bring(*task, "web-6", Participant::STATE_ROLLED_BACK);
  WaitForTask("tasks/site", Task::STATE_HALTED);
}

TEST_F(LifecycleTest, BearsTheFailuresThatItWasResumedWithAndNoOthersInTheirPlace) {
  const auto task = CreateBearing(1);
  const keys::Keyring::Minted key = Join(*task, "web-1").key;
  {
    const auto client = Connect(key);
    TestNegotiation negotiation(client.get(), "tasks/site");
    negotiation.Declare();
    EXPECT_EQ(negotiation.FailTheCheck().state(), Participant::STATE_ROLLED_BACK);
  }
  Bring(*task, "web-2", Participant::STATE_ROLLED_BACK);
  WaitForTask("tasks/site", Task::STATE_HALTED);
  ASSERT_TRUE(Resume("tasks/site").ok());
  Restart();
  EXPECT_EQ(Get("tasks/site").state(), Task::STATE_OPEN);
  // One of them is mended, and is no failure any more that others could hide behind.
  EXPECT_EQ(Retry("tasks/site", {"web-1"})->retried_clients(), 1);
  const auto mended = Connect(key);
  TestNegotiation negotiation(mended.get(), "tasks/site");
  EXPECT_EQ(negotiation.Declare().state(), Participant::STATE_OFFERED);
  EXPECT_EQ(negotiation.Apply().state(), Participant::STATE_CHECKING);
  EXPECT_TRUE(Confirm(Connect(key).get(), "tasks/site", task->task().payload_digest(), 2).ok());
  Bring(*task, "web-3", Participant::STATE_ROLLED_BACK);
  EXPECT_EQ(Get("tasks/site").state(), Task::STATE_OPEN);
  Bring(*task, "web-4", Participant::STATE_ROLLED_BACK);
  WaitForTask("tasks/site", Task::STATE_HALTED);
  EXPECT_EQ(Get("tasks/site").state_reason(), "halted after 2 failures since it was resumed, over the limit of 1");
}

TEST_F(LifecycleTest, TellsADeviceOfATaskThatIsPaused) {
  const auto device = Connect(access::v1::ROLE_DEVICE, "web-1");
  Label("web-1", {{"role", "web"}});
  task::v1::CreateTaskRequest request = NewTask("site");
  (*request.mutable_selector())["role"] = "web";
  ASSERT_TRUE(Create(request).ok());
  ASSERT_TRUE(Pause("tasks/site").ok());
  grpc::ClientContext context;
  TaskdTestClient::SetDeadline(&context);
  const auto stream = device->participation().WatchAssignments(&context, task::v1::WatchAssignmentsRequest());
  task::v1::WatchAssignmentsResponse told;
  ASSERT_TRUE(stream->Read(&told));
  EXPECT_EQ(told.task().name(), "tasks/site");
  context.TryCancel();
}

TEST_F(LifecycleTest, LetsWhoIsApplyingFinishWhenItHalts) {
  const auto task = CreateBearing(0);
  const keys::Keyring::Minted key = Join(*task, "web-1").key;
  const auto checking = Connect(key);
  TestNegotiation negotiation(checking.get(), "tasks/site");
  negotiation.CarryOn();
  Bring(*task, "web-2", Participant::STATE_ROLLED_BACK);
  WaitForTask("tasks/site", Task::STATE_HALTED);
  EXPECT_TRUE(Confirm(Connect(key).get(), "tasks/site", task->task().payload_digest()).ok());
  EXPECT_EQ(Get("tasks/site").state(), Task::STATE_HALTED);
  EXPECT_EQ(Get("tasks/site").counts().confirmed(), 1);
}

TEST_F(LifecycleTest, IsMendedByARevisionAfterItHalted) {
  task::v1::CreateTaskRequest request = NewTask("site");
  request.set_max_failures(0);
  request.set_expected_clients(1);
  const auto task = Create(request);
  const keys::Keyring::Minted key = Join(*task, "web-1").key;
  const auto client = Connect(key);
  TestNegotiation negotiation(client.get(), "tasks/site");
  negotiation.Declare();
  EXPECT_EQ(negotiation.FailTheCheck().state(), Participant::STATE_ROLLED_BACK);
  WaitForTask("tasks/site", Task::STATE_HALTED);
  ASSERT_TRUE(Publish("tasks/site", "mended").ok());
  EXPECT_EQ(Get("tasks/site").state(), Task::STATE_OPEN);
  EXPECT_EQ(Get("tasks/site").counts().rolled_back(), 0);
  NegotiateResponse pushed = negotiation.Read();
  // It is told of the halt, too.
  if (pushed.state() == Participant::STATE_ROLLED_BACK) pushed = negotiation.Read();
  ASSERT_EQ(pushed.state(), Participant::STATE_OFFERED);
  EXPECT_EQ(negotiation.Apply().state(), Participant::STATE_CHECKING);
  EXPECT_TRUE(Confirm(Connect(key).get(), "tasks/site", Get("tasks/site").payload_digest()).ok());
  WaitForTask("tasks/site", Task::STATE_COMPLETED);
}

TEST_F(LifecycleTest, ExpiresWithItsTimeAlsoWhileStopped) {
  ASSERT_TRUE(Create(NewTask("empty")).ok());
  const auto task = Create(NewTask("site"));
  Bring(*task, "web-1", Participant::STATE_CONFIRMED);
  Bring(*task, "web-2", Participant::STATE_CHECKING);
  Stop();
  clock_.Advance(absl::Hours(25));
  Start();
  WaitForTask("tasks/empty", Task::STATE_EXPIRED);
  WaitForTask("tasks/site", Task::STATE_COMPLETED_WITH_ERRORS);
  AdvanceUntil("tasks/site", "web-2", Participant::STATE_TIMED_OUT, absl::ZeroDuration());
}

TEST_F(LifecycleTest, GivesItsPlaceToTheTaskThatSupersedesIt) {
  const auto task = Create(NewTask("site"));
  const JoinedClient member = Join(*task, "web-1");
  task::v1::CreateTaskRequest request = NewTask("better");
  request.set_supersedes("tasks/site");
  ASSERT_TRUE(Create(request).ok());
  EXPECT_EQ(Get("tasks/site").state(), Task::STATE_SUPERSEDED);
  AdvanceUntil("tasks/site", "web-1", Participant::STATE_CANCELED, absl::ZeroDuration());
  EXPECT_EQ(GetParticipant("tasks/site", "web-1").reason(), "task_superseded");
  request = NewTask("again");
  request.set_supersedes("tasks/site");
  EXPECT_EQ(Reason(Create(request).status()), "TASK_ENDED");
}

TEST_F(LifecycleTest, SaysInEveryManifestThatItSignsWhichTaskItSupersedes) {
  ASSERT_TRUE(Create(NewTask("site")).ok());
  task::v1::CreateTaskRequest request = NewTask("better");
  request.set_supersedes("tasks/site");
  const auto task = Create(request);
  ASSERT_TRUE(task.ok()) << task.status();
  const JoinedClient member = Join(*task, "web-1");
  const auto client = Connect(member.key);
  TestNegotiation negotiation(client.get(), member.task);
  NegotiateResponse offered = negotiation.Declare();
  const auto supersedes = [&] {
    task::v1::Manifest manifest;
    EXPECT_TRUE(manifest.ParseFromString(offered.offer().manifest().manifest()));
    return absl::StrCat(manifest.supersedes(), " r", manifest.revision());
  };
  EXPECT_EQ(supersedes(), "tasks/site r1");
  Restart();
  ASSERT_TRUE(Publish("tasks/better", "second").ok());
  const auto again = Connect(member.key);
  TestNegotiation next(again.get(), member.task);
  offered = next.Declare();
  EXPECT_EQ(supersedes(), "tasks/site r2");
}

TEST_F(LifecycleTest, GoesOnAfterARestartInTheMiddle) {
  const auto task = Create(NewTask("site"));
  const JoinedClient member = Join(*task, "web-1");
  {
    const auto client = Connect(member.key);
    TestNegotiation negotiation(client.get(), member.task);
    negotiation.Declare();
    negotiation.Accept();
    ASSERT_EQ(negotiation.Report(Participant::STATE_STAGED).state(), Participant::STATE_STAGED);
    Restart();
  }
  const auto client = Connect(member.key);
  TestNegotiation negotiation(client.get(), member.task);
  ASSERT_EQ(negotiation.Declare().state(), Participant::STATE_STAGED);
  negotiation.Report(Participant::STATE_APPLYING);
  negotiation.Report(Participant::STATE_CHECKING);
  Restart();
  // The connection that reported CHECKING is gone, and was written down.
  const auto fresh = Connect(member.key);
  const auto confirmed = Confirm(fresh.get(), member.task, task->task().payload_digest());
  ASSERT_TRUE(confirmed.ok()) << confirmed.status();
  EXPECT_EQ(Get("tasks/site").counts().confirmed(), 1);
  // The sealed signing key opens.
  const auto published = Publish("tasks/site", "second");
  ASSERT_TRUE(published.ok()) << published.status();
  EXPECT_EQ(published->revision(), 2);
  EXPECT_EQ(published->counts().waiting(), 1);
}

TEST_F(LifecycleTest, CountsWhoNeverCameBackAfterARestartAsLost) {
  const auto task = Create(NewLongTask("site"));
  Bring(*task, "web-1", Participant::STATE_CHECKING);
  Restart();
  AdvanceUntil("tasks/site", "web-1", Participant::STATE_LOST, absl::Seconds(61));
  AdvanceUntil("tasks/site", "web-1", Participant::STATE_TIMED_OUT, absl::Hours(24 * 7));
}

TEST_F(LifecycleTest, IsWatchedFromTheCursorWithoutAGap) {
  const auto task = Create(NewTask("site"));
  Bring(*task, "web-1", Participant::STATE_CONFIRMED);
  int64_t cursor = 0;
  {
    Watcher watcher(&op(), "tasks/site");
    while (watcher.cursor == 0) ASSERT_TRUE(watcher.Read());
    EXPECT_EQ(watcher.states["tasks/site/participants/web-1"], Participant::STATE_CONFIRMED);
    EXPECT_EQ(watcher.task.counts().confirmed(), 1);
    cursor = watcher.cursor;
  }
  Bring(*task, "web-2", Participant::STATE_CONFIRMED);
  Restart();
  Watcher watcher(&op(), "tasks/site", cursor);
  ASSERT_TRUE(watcher.Read());
  EXPECT_EQ(watcher.task.name(), "tasks/site");
  while (watcher.states["tasks/site/participants/web-2"] != Participant::STATE_CONFIRMED) ASSERT_TRUE(watcher.Read());
  EXPECT_EQ(watcher.states.size(), 1u);
  // Live.
  Join(*task, "web-3");
  while (watcher.states.count("tasks/site/participants/web-3") == 0) ASSERT_TRUE(watcher.Read());
  ASSERT_TRUE(Abort("tasks/site", "enough").ok());
  EXPECT_TRUE(watcher.Finish().ok());
  EXPECT_EQ(watcher.task.state(), Task::STATE_ABORTED);
  EXPECT_EQ(watcher.states["tasks/site/participants/web-3"], Participant::STATE_CANCELED);
  EXPECT_EQ(watcher.task.counts().canceled(), 1);
  // The watch shows what has ended once more, and then ends.
  Watcher late(&op(), "tasks/site");
  EXPECT_TRUE(late.Finish().ok());
  EXPECT_EQ(late.states.size(), 3u);
  Watcher nothing(&op(), "tasks/site", late.cursor);
  EXPECT_TRUE(nothing.Finish().ok());
  EXPECT_EQ(nothing.states.size(), 0u);
  Watcher future(&op(), "tasks/site", int64_t{1} << 40);
  EXPECT_EQ(future.Finish().code(), absl::StatusCode::kOutOfRange);
}

TEST_F(LifecycleTest, IsShownToTheDevicesThatItSelects) {
  const auto device = Connect(access::v1::ROLE_DEVICE, "web-1");
  grpc::ClientContext context;
  TaskdTestClient::SetDeadline(&context);
  task::v1::WatchAssignmentsRequest watch;
  Label("web-1", {{"role", "web"}});
  task::v1::CreateTaskRequest request = NewTask("first");
  (*request.mutable_selector())["role"] = "web";
  ASSERT_TRUE(Create(request).ok());
  const auto stream = device->participation().WatchAssignments(&context, watch);
  task::v1::WatchAssignmentsResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.task().name(), "tasks/first");
  request = NewTask("other");
  (*request.mutable_selector())["role"] = "db";
  ASSERT_TRUE(Create(request).ok());
  request = NewTask("later");
  (*request.mutable_selector())["role"] = "web";
  *request.mutable_start_time() = ToProto(clock_.Now() + absl::Hours(1));
  ASSERT_TRUE(Create(request).ok());
  clock_.Advance(absl::Hours(1));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.task().name(), "tasks/later");
  context.TryCancel();
}

// A task signed by its creator's own key.
class SignedTest : public LifecycleTest {
 protected:
  task::v1::SignedManifest Sign(const std::string& id, int64_t revision, absl::string_view content,
                                const std::string& supersedes = "") {
    payload::Files files;
    task::v1::FileEntry& file = *files.Add();
    file.set_path("a");
    file.set_type(task::v1::FileEntry::TYPE_REGULAR);
    file.set_mode(0644);
    file.set_size(static_cast<int64_t>(content.size()));
    file.set_sha256(crypto::Sha256(content));
    file.add_chunks(crypto::Sha256(content));
    return *payload::SignManifest({"tasks/" + id, revision, clock_.Now(), clock_.Now() + absl::Hours(2), supersedes},
                                  std::move(files), key_);
  }
  void Upload(absl::string_view content) {
    grpc::ClientContext context;
    TaskdTestClient::SetDeadline(&context);
    task::v1::UploadChunksResponse response;
    const auto writer = op().artifacts().UploadChunks(&context, &response);
    task::v1::UploadChunksRequest chunk;
    chunk.set_digest(crypto::Sha256(content));
    chunk.set_zstd(payload::CompressChunk(content));
    writer->Write(chunk);
    writer->WritesDone();
    ASSERT_TRUE(writer->Finish().ok());
    EXPECT_EQ(response.chunks(), 1);
  }
  task::v1::CreateTaskRequest Request(const std::string& id) {
    task::v1::CreateTaskRequest request = NewTask(id);
    *request.mutable_signed_manifest() = Sign(id, 1, "one");
    request.set_verification_key(key_.verification_key());
    return request;
  }
  absl::Status PublishSigned(const task::v1::SignedManifest& manifest) {
    task::v1::PublishRevisionRequest request;
    request.set_request_id(crypto::RandomUuid());
    request.set_name("tasks/site");
    *request.mutable_signed_manifest() = manifest;
    return op().Call(&op().tasks(), &TaskService::Stub::PublishRevision, request).status();
  }

  crypto::SigningKey key_ = crypto::SigningKey::Generate();
};

TEST_F(SignedTest, NeedsItsChunksAndItsOwnSignature) {
  EXPECT_EQ(Reason(Create(Request("site")).status()), "CHUNKS_MISSING");
  Upload("one");
  task::v1::CreateTaskRequest forged = Request("site");
  forged.set_verification_key(crypto::SigningKey::Generate().verification_key());
  EXPECT_EQ(Reason(Create(forged).status()), "MANIFEST_SIGNATURE");
  task::v1::CreateTaskRequest other = Request("site");
  *other.mutable_signed_manifest() = Sign("other", 1, "one");
  EXPECT_EQ(Reason(Create(other).status()), "MANIFEST_TASK");
  const auto task = Create(Request("site"));
  ASSERT_TRUE(task.ok()) << task.status();
  EXPECT_FALSE(task->task().server_signed());
  EXPECT_EQ(ParseJoinKey(task->join_key().pasted()).verification_key, key_.verification_key());
}

// Whose files a task takes over is the signer's word, and the same in every revision.
TEST_F(SignedTest, SupersedesWhatItsManifestSaysOrDoesNotSay) {
  Upload("one");
  for (const char* id : {"old", "older"}) ASSERT_TRUE(Create(NewTask(id)).ok());
  task::v1::CreateTaskRequest request = Request("site");
  request.set_supersedes("tasks/old");
  *request.mutable_signed_manifest() = Sign("site", 1, "one", "tasks/older");
  EXPECT_EQ(Reason(Create(request).status()), "MANIFEST_SUPERSEDES");
  // Nor is a task superseded by a manifest alone.
  request.clear_supersedes();
  *request.mutable_signed_manifest() = Sign("site", 1, "one", "tasks/old");
  EXPECT_EQ(Reason(Create(request).status()), "MANIFEST_SUPERSEDES");
  EXPECT_EQ(Get("tasks/old").state(), Task::STATE_OPEN);
  request.set_supersedes("tasks/old");
  const auto task = Create(request);
  ASSERT_TRUE(task.ok()) << task.status();
  EXPECT_EQ(task->task().supersedes(), "tasks/old");
  EXPECT_EQ(Get("tasks/old").state(), Task::STATE_SUPERSEDED);
  EXPECT_EQ(Reason(PublishSigned(Sign("site", 2, "one", "tasks/older"))), "MANIFEST_SUPERSEDES");
  EXPECT_EQ(Reason(PublishSigned(Sign("site", 2, "one", "tasks/old"))), "");

  // A CLI of an earlier version signs no such thing.
  task::v1::CreateTaskRequest silent = Request("silent");
  silent.set_supersedes("tasks/older");
  EXPECT_TRUE(Create(silent).ok());
  EXPECT_EQ(Get("tasks/older").state(), Task::STATE_SUPERSEDED);
}

TEST_F(SignedTest, TakesOnlyTheNextRevisionUnderTheSameKey) {
  Upload("one");
  ASSERT_TRUE(Create(Request("site")).ok());
  EXPECT_EQ(Reason(Publish("tasks/site", "inline").status()), "NOT_SERVER_SIGNED");
  EXPECT_EQ(Reason(PublishSigned(Sign("site", 1, "one"))), "REVISION_NOT_NEXT");
  EXPECT_EQ(Reason(PublishSigned(Sign("site", 3, "one"))), "REVISION_NOT_NEXT");
  EXPECT_EQ(Reason(PublishSigned(Sign("site", 2, "two"))), "CHUNKS_MISSING");
  const crypto::SigningKey mine = std::exchange(key_, crypto::SigningKey::Generate());
  EXPECT_EQ(Reason(PublishSigned(Sign("site", 2, "one"))), "MANIFEST_SIGNATURE");
  ASSERT_EQ(Get("tasks/site").revision(), 1);
}

}  // namespace
}  // namespace parley::taskd
