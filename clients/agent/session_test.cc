// A whole agent against a taskd that misbehaves, over the real door.
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <thread>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "clients/agent/agent.h"
#include "clients/agent/cancellation.h"
#include "clients/agent/fake_payload.h"
#include "clients/agent/fake_taskd.h"
#include "clients/agent/record.h"
#include "clients/agent/session_testing.h"
#include "gtest/gtest.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "lib/payload/chunk.h"

namespace parley::agent {
namespace {

using task::v1::Participant;

// Bytes that zstd cannot make shorter.
std::string Noise(size_t size, uint32_t seed) {
  std::string noise(size, '\0');
  for (char& c : noise) c = static_cast<char>((seed = seed * 1664525 + 1013904223) >> 24);
  return noise;
}

TEST_F(SessionTest, JoinsFetchesAppliesAndConfirms) {
  taskd_.Publish(new_);
  const Outcome outcome = RunToEnd();
  EXPECT_TRUE(outcome.ok());
  EXPECT_EQ(outcome.revision, 1);
  EXPECT_EQ(outcome.task, "tasks/nginx");
  EXPECT_EQ(Installed(), merged_);
  EXPECT_EQ(ReadTestFile(Running()), "new");
  EXPECT_EQ(taskd_.history(), (std::vector<FakeTaskd::State>{Participant::STATE_OFFERED, Participant::STATE_ACCEPTED,
                                                             Participant::STATE_TRANSFERRING, Participant::STATE_STAGED,
                                                             Participant::STATE_APPLYING, Participant::STATE_CHECKING,
                                                             Participant::STATE_CONFIRMED}));
  EXPECT_TRUE(log_.Has("connected TLS 1.2 ECDHE-PSK-CHACHA20-POLY1305"));
  EXPECT_TRUE(absl::EndsWith(log_.All(), "offered 1\nfetched\nchecked\napplied\nconfirmed 1\n")) << log_.All();
  EXPECT_EQ(ReadTree(folder_ / ".parley-target").size(), 1u) << "more than the record of what is installed";
  struct stat info;
  ASSERT_EQ(stat((folder_ / "state/tasks/nginx/membership").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(SessionTest, JoinsAgainAsTheSameClientWithoutAnotherKey) {
  taskd_.Publish(new_);
  ASSERT_TRUE(RunJoin().ok());
  JoinOptions options = Options();
  options.key.reset();
  options.client_name.clear();
  const Outcome outcome = RunToEnd(std::move(options));
  EXPECT_TRUE(outcome.ok());
  EXPECT_EQ(taskd_.joins(), 1);
}

TEST_F(SessionTest, RepeatsAJoinWhoseAnswerWasLostWithItsNonce) {
  taskd_.faults.lost_joins = 2;
  taskd_.Publish(new_);
  RunToEnd();
  EXPECT_EQ(taskd_.joins(), 3);
}

TEST_F(SessionTest, ResumesATransferAtTheByte) {
  const Tree large = {{"large", Noise(700'000, 1)}, {"site.conf", "new"}};
  taskd_.Publish(large);
  taskd_.faults.cut_after_bytes = 300'123;
  RunToEnd();
  EXPECT_EQ(Installed().at("large"), large.at("large"));
  int64_t frames = 0;
  for (const auto& [digest, content] : MakePayload(large).chunks) {
    frames += static_cast<int64_t>(payload::CompressChunk(content).size());
  }
  EXPECT_EQ(taskd_.sent_bytes(), frames);
  const auto fetches = taskd_.fetches();
  ASSERT_EQ(fetches.size(), 2u);
  const int64_t first = static_cast<int64_t>(payload::CompressChunk(large.at("large").substr(0, 262144)).size());
  EXPECT_EQ(fetches[1].chunks(0).offset(), 300'123 - first);
  EXPECT_EQ(fetches[1].chunks_size(), fetches[0].chunks_size() - 1);
}

TEST_F(SessionTest, FetchesOnlyTheChunksThatItLacks) {
  std::string large = Noise(1'000'000, 2);
  taskd_.Publish({{"large", large}, {"site.conf", "new"}});
  ASSERT_TRUE(RunJoin().ok());
  large[500'000] ^= 1;  // The second of four chunks.
  taskd_.Publish({{"moved/large", large}, {"site.conf", "new"}});
  ASSERT_TRUE(RunJoin().ok());
  const auto fetches = taskd_.fetches();
  ASSERT_EQ(fetches.size(), 2u);
  EXPECT_EQ(fetches[1].chunks_size(), 1);
  EXPECT_EQ(Installed(), (Tree{{"keep", "mine"}, {"moved/large", large}, {"site.conf", "new"}}));
  EXPECT_EQ(log_.fetched.reused_bytes, 1'000'000 - 262'144 + 3);
}

TEST_F(SessionTest, FollowsLaterRevisions) {
  taskd_.Publish(new_);
  StartFollowing(Options());
  log_.Await("confirmed 1");
  taskd_.Publish({{"site.conf", "newer"}});
  log_.Await("confirmed 2");
  EXPECT_EQ(Installed(), (Tree{{"keep", "mine"}, {"site.conf", "newer"}}));
  StopIt();
  EXPECT_EQ(outcome_.status().code(), absl::StatusCode::kCancelled);
}

TEST_F(SessionTest, RefusesATamperedManifest) {
  ExpectManifestRefused([](task::v1::SignedManifest* m) { m->mutable_manifest()->back() ^= 1; }, "MANIFEST_SIGNATURE");
}

TEST_F(SessionTest, RefusesATruncatedManifest) {
  ExpectManifestRefused([](task::v1::SignedManifest* m) { m->mutable_manifest()->pop_back(); }, "MANIFEST_SIGNATURE");
}

TEST_F(SessionTest, RefusesAManifestSignedByAnother) {
  ExpectManifestRefused(
      [this](task::v1::SignedManifest* m) {
        const payload::ManifestFields fields = {.task = "tasks/nginx",
                                                .revision = 1,
                                                .create_time = clock_.Now(),
                                                .expire_time = clock_.Now() + absl::Hours(1)};
        *m = *payload::SignManifest(fields, MakePayload(new_).files, crypto::SigningKey::Generate());
      },
      "MANIFEST_SIGNATURE");
}

TEST_F(SessionTest, RefusesAnOversizedManifest) {
  ExpectManifestRefused(
      [](task::v1::SignedManifest* m) { m->mutable_manifest()->resize(payload::kMaxManifestBytes + 1); },
      "MANIFEST_TOO_LARGE");
}

TEST_F(SessionTest, RefusesAnExpiredManifest) {
  ExpectManifestRefused(
      [this, advanced = false](task::v1::SignedManifest*) mutable {
        if (!std::exchange(advanced, true)) clock_.Advance(absl::Minutes(61));
      },
      "MANIFEST_EXPIRED");
}

TEST_F(SessionTest, RefusesAnOlderRevision) {
  taskd_.Publish(old_);
  const task::v1::SignedManifest older = taskd_.SignedManifest(1, {{"site.conf", "older"}});
  taskd_.Publish(new_);
  ASSERT_TRUE(RunJoin().ok());
  taskd_.Publish(new_);
  // The server replays what the key once signed.
  taskd_.Stop();
  taskd_.faults.manifest = [older](task::v1::SignedManifest* m) { *m = older; };
  taskd_.Start();
  const auto outcome = RunJoin();
  EXPECT_EQ(Reason(outcome.status()), "REVISION_OLDER") << outcome.status();
  EXPECT_EQ(taskd_.state(), Participant::STATE_DECLINED);
  EXPECT_EQ(Installed(), merged_);
}

TEST_F(SessionTest, TellsTheOperatorWhyAForcedOneIsRefused) {
  taskd_.faults.forced = true;
  taskd_.faults.manifest = [](task::v1::SignedManifest* m) { m->clear_signature(); };
  taskd_.Publish(new_);
  EXPECT_EQ(Reason(RunJoin().status()), "MANIFEST_SIGNATURE");
  EXPECT_EQ(taskd_.state(), Participant::STATE_ROLLED_BACK);
  EXPECT_EQ(taskd_.reason(), "manifest_signature");
  ExpectNothingApplied();
}

TEST_F(SessionTest, RefusesATamperedChunk) {
  ExpectChunkRefused([](const std::string&) { return payload::CompressChunk("evil"); }, "CHUNK_DIGEST");
}

TEST_F(SessionTest, RefusesATruncatedChunk) {
  ExpectChunkRefused([](std::string frame) { return frame.substr(0, frame.size() - 1); }, "CHUNK_MALFORMED");
}

TEST_F(SessionTest, RefusesABombOfZeros) {
  ExpectChunkRefused([](const std::string&) { return payload::CompressChunk(std::string(64 << 20, '\0')); },
                     "CHUNK_TOO_LARGE");
}

TEST_F(SessionTest, RefusesAFrameOverTheLimit) {
  ExpectChunkRefused([](const std::string&) { return std::string(300'000, 'x'); }, "TRANSFER_MALFORMED");
}

TEST_F(SessionTest, FetchesAChunkAgainWhoseFirstHalfWasWrong) {
  taskd_.Publish({{"large", Noise(200'000, 3)}});
  taskd_.faults.cut_after_bytes = 100'000;
  taskd_.faults.frame = [this](std::string frame) {
    if (taskd_.faults.cut_after_bytes >= 0 || cut_seen_++ == 0) frame[50'000] ^= 1;
    return frame;
  };
  RunToEnd();
  EXPECT_EQ(taskd_.fetches().size(), 3u);
}

TEST_F(SessionTest, RollsBackWhenTheCheckFails) {
  taskd_.Publish({{"bad", ""}, {"site.conf", "new"}});
  const Outcome outcome = RunToEnd();
  EXPECT_EQ(outcome.state, Participant::STATE_ROLLED_BACK);
  EXPECT_EQ(outcome.reason, "check_failed");
  EXPECT_TRUE(absl::StartsWith(outcome.detail, "line 14 is wrong\n")) << outcome.detail;
  EXPECT_EQ(taskd_.state(), Participant::STATE_ROLLED_BACK);
  EXPECT_EQ(taskd_.reason(), "check_failed");
  EXPECT_TRUE(absl::StartsWith(taskd_.detail(), "line 14 is wrong\n"));
  ExpectNothingApplied();
}

TEST_F(SessionTest, SaysThatThereWasNothingBeforeAFirstInstallationThatFails) {
  taskd_.Publish({{"bad", ""}, {"site.conf", "new"}});
  EXPECT_EQ(RunToEnd().state, Participant::STATE_ROLLED_BACK);
  EXPECT_FALSE(log_.nothing_before);
  std::filesystem::remove_all(Target());
  EXPECT_EQ(RunToEnd().state, Participant::STATE_ROLLED_BACK);
  EXPECT_TRUE(log_.nothing_before);
  EXPECT_FALSE(std::filesystem::exists(Target()));
}

// A disk that was full has no note of it.
TEST_F(SessionTest, ARollbackWithoutANoteOfItIsToldByWhatIsKnownOfTheOldSet) {
  taskd_.Publish(new_);
  ASSERT_EQ(RunToEnd().state, Participant::STATE_CONFIRMED);
  taskd_.PushState(Participant::STATE_ROLLING_BACK);
  EXPECT_EQ(RunToEnd().state, Participant::STATE_ROLLED_BACK);
  const std::string record = folder_ / ".parley-target/record";
  TargetRecord noted;
  ASSERT_TRUE(ReadRecord(record, &noted).ok());
  noted.mutable_tasks(0)->set_applied(false);
  ASSERT_TRUE(WriteRecord(record, noted).ok());
  taskd_.PushState(Participant::STATE_ROLLING_BACK);
  EXPECT_EQ(RunToEnd().state, Participant::STATE_ROLLBACK_FAILED);
}

TEST_F(SessionTest, RollsBackWhenACommandChangesWhatWasInstalled) {
  taskd_.Publish(new_);
  JoinOptions options = Options();
  options.hooks.check = "echo more >> $PARLEY_TARGET/conf.d/a";
  const Outcome outcome = RunToEnd(std::move(options));
  EXPECT_EQ(outcome.reason, "digest_mismatch");
  EXPECT_EQ(Installed(), old_);
  EXPECT_EQ(ReadTestFile(Running()), "old");
}

TEST_F(SessionTest, RollsBackWhenACommandPutsALinkInPlaceOfTheTarget) {
  taskd_.Publish(new_);
  JoinOptions options = Options();
  options.hooks.check = "mv $PARLEY_TARGET $PARLEY_TARGET-2; ln -s $PARLEY_TARGET-2 $PARLEY_TARGET";
  const Outcome outcome = RunToEnd(std::move(options));
  EXPECT_EQ(outcome.state, Participant::STATE_ROLLED_BACK);
  EXPECT_EQ(outcome.reason, "target_changed");
  EXPECT_FALSE(std::filesystem::is_symlink(Target()));
  EXPECT_EQ(Installed(), old_);
}

TEST_F(SessionTest, RollsBackWhenItCannotConfirm) {
  taskd_.Publish(new_);
  taskd_.faults.confirm = [this] {
    boot_clock_.Advance(absl::Milliseconds(500));
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "the line is dead");
  };
  JoinOptions options = Options();
  options.confirm_timeout = absl::Seconds(3);
  const Outcome outcome = RunToEnd(std::move(options));
  EXPECT_EQ(outcome.state, Participant::STATE_ROLLED_BACK);
  EXPECT_EQ(outcome.reason, "unconfirmed");
  EXPECT_EQ(Installed(), old_);
  EXPECT_EQ(ReadTestFile(Running()), "old");
  EXPECT_EQ(taskd_.state(), Participant::STATE_ROLLED_BACK);
}

TEST_F(SessionTest, ConfirmsAgainWhenTheAnswerIsLost) {
  taskd_.Publish(new_);
  int lost = 0;
  taskd_.faults.confirm = [&] {
    return lost++ < 2 ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "lost") : grpc::Status::OK;
  };
  const Outcome outcome = RunToEnd();
  EXPECT_EQ(outcome.state, Participant::STATE_CONFIRMED);
  EXPECT_EQ(ReadTestFile(Running()), "new");
}

TEST_F(SessionTest, GoesOnWhenTheServerIsRestartedInAnyState) {
  std::atomic<FakeTaskd::State> awaited = Participant::STATE_UNSPECIFIED;
  std::atomic<bool> restart = false;
  taskd_.faults.on_report = [&](FakeTaskd::State reported) {
    if (reported == awaited) restart = true;
  };
  for (const auto state : {Participant::STATE_TRANSFERRING, Participant::STATE_STAGED, Participant::STATE_APPLYING,
                           Participant::STATE_CHECKING}) {
    SCOPED_TRACE(state);
    EventLog log;
    restart = false;
    awaited = state;
    taskd_.Publish({{"site.conf", absl::StrCat("with ", state)}, {"large", Noise(300'000, 4 + state)}});
    absl::StatusOr<Outcome> outcome = absl::UnknownError("");
    std::atomic<bool> done = false;
    std::thread agent([&] {
      outcome = Join(Options(), &log);
      done = true;
    });
    while (!restart && !done) std::this_thread::yield();
    awaited = Participant::STATE_UNSPECIFIED;
    taskd_.Stop();
    taskd_.Start();
    agent.join();
    ASSERT_TRUE(outcome.ok()) << outcome.status() << log.All();
    EXPECT_TRUE(outcome->ok()) << outcome->reason;
    EXPECT_EQ(ReadTestFile(Running()), absl::StrCat("with ", state));
  }
  taskd_.Stop();
}

TEST_F(SessionTest, ConfirmsWhatAKilledProcessHadSwappedIn) {
  taskd_.Publish(new_);
  // A process that is hit by kill -9 behind the swap gets so far.
  taskd_.faults.confirm = [] { return grpc::Status(grpc::StatusCode::PERMISSION_DENIED, "not now"); };
  {
    Cancellation cancellation;
    JoinOptions options = Options();
    options.hooks = {};
    taskd_.faults.on_report = [&](FakeTaskd::State state) {
      if (state == Participant::STATE_CHECKING) cancellation.Cancel();
    };
    options.cancellation = &cancellation;
    Join(std::move(options), &log_).status().IgnoreError();
  }
  ASSERT_EQ(Installed(), old_);  // A process that may say goodbye leaves nothing undecided.
  taskd_.Stop();
  taskd_.faults.on_report = nullptr;
  taskd_.faults.confirm = nullptr;
  taskd_.Start();
  taskd_.PushState(Participant::STATE_CHECKING);
  LeaveUndecided("tasks/nginx", new_, Options().hooks, 1);
  const Outcome outcome = RunToEnd();
  EXPECT_EQ(outcome.state, Participant::STATE_CONFIRMED);
  EXPECT_EQ(Installed(), merged_);
  EXPECT_EQ(ReadTestFile(Running()), "new");
}

// A client that was away for longer than its lease has not failed.
TEST_F(SessionTest, BeginsAnewWhenTheServerDoesNotWaitForItAnyMore) {
  taskd_.Publish(new_);
  taskd_.faults.confirm = [this, timed_out = false]() mutable {
    if (!std::exchange(timed_out, true)) taskd_.PushState(Participant::STATE_TIMED_OUT);
    return grpc::Status::OK;
  };
  const Outcome outcome = RunToEnd();
  EXPECT_EQ(outcome.state, Participant::STATE_CONFIRMED);
  EXPECT_EQ(Installed(), merged_);
  EXPECT_EQ(ReadTestFile(Running()), "new");
}

TEST_F(SessionTest, TakesBackWhatAnOldServerDoesNotWaitForAnyMore) {
  taskd_.faults.old = true;
  taskd_.Publish(new_);
  taskd_.faults.confirm = [this] {
    taskd_.PushState(Participant::STATE_TIMED_OUT);
    return grpc::Status::OK;
  };
  const Outcome outcome = RunToEnd();
  EXPECT_EQ(outcome.state, Participant::STATE_TIMED_OUT);
  EXPECT_EQ(Installed(), old_);
  EXPECT_EQ(ReadTestFile(Running()), "old");
}

TEST_F(SessionTest, StopsATransferThatIsCanceled) {
  taskd_.Publish({{"large", Noise(900'000, 9)}});
  taskd_.faults.on_report = [this](FakeTaskd::State state) {
    if (state == Participant::STATE_TRANSFERRING) taskd_.PushState(Participant::STATE_CANCELED);
  };
  const Outcome outcome = RunToEnd();
  EXPECT_EQ(outcome.state, Participant::STATE_CANCELED);
  ExpectNothingApplied();
}

TEST_F(SessionTest, DefersAndAcceptsWhenTheOfferComesAgain) {
  taskd_.Publish(new_);
  JoinOptions options = Options();
  options.policy.defer_until = clock_.Now() + absl::Minutes(5);
  options.policy.defer_reason = "busy";
  StartJoin(std::move(options));
  log_.Await("waiting busy");
  EXPECT_EQ(taskd_.reason(), "busy");
  clock_.Advance(absl::Minutes(6));
  taskd_.PushState(Participant::STATE_OFFERED);
  thread_.join();
  ASSERT_TRUE(outcome_.ok()) << outcome_.status();
  EXPECT_TRUE(outcome_->ok());
}

TEST_F(SessionTest, DeclinesByPolicy) {
  taskd_.Publish(new_);
  JoinOptions options = Options();
  options.policy.decline = "frozen";
  const Outcome outcome = RunToEnd(std::move(options));
  EXPECT_EQ(outcome.state, Participant::STATE_DECLINED);
  EXPECT_EQ(taskd_.reason(), "policy");
  EXPECT_EQ(taskd_.detail(), "frozen");
  ExpectNothingApplied();
}

TEST_F(SessionTest, EndsWhenItsKeyIsRevoked) {
  taskd_.Publish(new_);
  taskd_.faults.revoked = true;
  const auto outcome = RunJoin();
  EXPECT_EQ(Reason(outcome.status()), "KEY_REFUSED") << outcome.status();
  ExpectNothingApplied();
}

TEST_F(SessionTest, EndsWhenItsKeyHasExpired) {
  taskd_.Publish(new_);
  ASSERT_TRUE(RunJoin().ok());
  clock_.Advance(absl::Hours(3));
  EXPECT_EQ(Reason(RunJoin().status()), "KEY_EXPIRED");
}

TEST_F(SessionTest, EndsWhenTheServerIsNotThere) {
  taskd_.Stop();
  JoinOptions options = Options();
  options.connect_timeout = absl::Milliseconds(50);
  const auto outcome = Join(std::move(options), &log_);
  EXPECT_EQ(Reason(outcome.status()), "CONNECTION_REFUSED") << outcome.status();
  ExpectNothingApplied();
}

TEST_F(SessionTest, LetsOneProcessUseATarget) {
  taskd_.Publish(new_);
  const auto folder = TargetFolder::Open(Target());
  ASSERT_TRUE(folder.ok());
  JoinOptions options = Options();
  options.hindrance_timeout = absl::Milliseconds(50);
  EXPECT_EQ(Reason(Join(std::move(options), &log_).status()), "TARGET_IN_USE");
  // The operator sees why it does not begin.
  EXPECT_EQ(taskd_.state(), Participant::STATE_INELIGIBLE);
  EXPECT_EQ(taskd_.reason(), "target_in_use");
}

TEST_F(SessionTest, LetsOneProcessUseATasksState) {
  taskd_.Publish(new_);
  std::filesystem::create_directories(folder_ / "state/tasks");
  const Fd held = LockFolder(folder_ / "state/tasks/nginx");
  ASSERT_TRUE(held.ok());
  EXPECT_EQ(Reason(RunJoin().status()), "STATE_IN_USE");
  EXPECT_EQ(taskd_.joins(), 0);
}

TEST_F(SessionTest, RefusesAStateFolderOfAnotherClientOrTask) {
  taskd_.Publish(new_);
  ASSERT_TRUE(RunJoin().ok());
  JoinOptions other = Options();
  other.client_name = "web-2";
  EXPECT_EQ(Reason(Join(std::move(other), nullptr).status()), "STATE_CONFLICT");
  other = Options();
  other.key->verification_key = std::string(32, 'k');
  EXPECT_EQ(Reason(Join(std::move(other), nullptr).status()), "STATE_CONFLICT");
  // It would say CONFIRMED, and nothing would be there.
  other = Options();
  other.into = folder_ / "elsewhere";
  EXPECT_EQ(Reason(Join(std::move(other), nullptr).status()), "STATE_CONFLICT");
}

TEST_F(SessionTest, NamesWhatIsWrongWithItsInput) {
  JoinOptions options = Options();
  options.key.reset();
  EXPECT_EQ(Reason(Join(std::move(options), nullptr).status()), "STATE_MISSING");
  options = Options();
  options.client_name = "../x";
  EXPECT_EQ(Reason(Join(std::move(options), nullptr).status()), "CLIENT_NAME");
  options = Options();
  options.key->task = "../../etc";
  EXPECT_EQ(Reason(Join(std::move(options), nullptr).status()), "TASK_NAME");
  options = Options();
  options.into = folder_ / "no/such/place";
  EXPECT_EQ(Reason(Join(std::move(options), nullptr).status()), "TARGET_PARENT");
}

TEST_F(SessionTest, ADeviceCarriesOutItsTasksUntilStopped) {
  taskd_.Publish(new_);
  DeviceOptions options = Device();
  options.into = folder_ / "{task}";
  StartDevice(std::move(options));
  log_.Await("confirmed 1");
  EXPECT_EQ(ReadTree(folder_ / "nginx"), new_);
  taskd_.Publish({{"site.conf", "newer"}});
  log_.Await("confirmed 2");
  StopIt();
  EXPECT_EQ(status_.code(), absl::StatusCode::kCancelled);
}

TEST_F(SessionTest, ADeviceThatNeverHadATaskOutlivesItsServer) {
  taskd_.Publish(new_);
  taskd_.faults.no_assignment = true;
  DeviceOptions options = Device();
  // Over by the time that the server goes.
  options.connect_timeout = absl::ZeroDuration();
  StartDevice(std::move(options));
  log_.Await("connected TLS 1.2 ECDHE-PSK-CHACHA20-POLY1305");
  taskd_.Stop();
  taskd_.faults.no_assignment = false;
  taskd_.Start();
  log_.Await("confirmed 1");
  StopIt();
  EXPECT_EQ(status_.code(), absl::StatusCode::kCancelled);
}

TEST_F(SessionTest, ADeviceRenewsItsCredentialAndOutlivesTheFormer) {
  taskd_.Publish(new_);
  DeviceOptions options = Device();
  int tries = 0;
  options.renew = [&]() -> absl::StatusOr<keys::Credential> {
    if (++tries == 1) return Error(absl::StatusCode::kUnavailable, "KEYD_AWAY", "away");
    return taskd_.Device();
  };
  StartDevice(std::move(options));
  log_.Await("confirmed 1");
  clock_.Advance(absl::Minutes(40));
  log_.Await("renewal failed KEYD_AWAY");
  clock_.Advance(absl::Minutes(2));
  log_.Await("renewed");
  // Past the end of the first one; whoever connects now must have the second.
  clock_.Advance(absl::Minutes(20));
  taskd_.Stop();
  taskd_.Start();
  taskd_.Publish({{"site.conf", "newer"}});
  log_.Await("confirmed 2");
  StopIt();
  EXPECT_EQ(status_.code(), absl::StatusCode::kCancelled);
}

TEST_F(SessionTest, ADeviceEndsWithACredentialThatHasNoNext) {
  taskd_.Publish(new_);
  StartDevice(Device());
  log_.Await("confirmed 1");
  clock_.Advance(absl::Minutes(61));
  taskd_.Stop();
  taskd_.Start();
  thread_.join();
  EXPECT_EQ(Reason(status_), "KEY_EXPIRED");
}

// A server that is just starting refuses every key.
TEST_F(SessionTest, ADeviceOutlivesAServerThatRefusesItsKey) {
  taskd_.Publish(new_);
  taskd_.faults.revoked = true;
  StartDevice(Device());
  log_.Await("disconnected KEY_REFUSED");
  while (log_.Count("disconnected KEY_REFUSED") < 5) std::this_thread::yield();
  taskd_.Stop();
  taskd_.faults.revoked = false;
  taskd_.Start();
  log_.Await("confirmed 1");
  StopIt();
  EXPECT_EQ(status_.code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace parley::agent
