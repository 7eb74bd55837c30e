// What a client does when something keeps it from going on, and when the server stands elsewhere than the disk does.
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "clients/agent/agent_state.pb.h"
#include "clients/agent/boot_clock.h"
#include "clients/agent/cancellation.h"
#include "clients/agent/faults.h"
#include "clients/agent/hindrance.h"
#include "clients/agent/record.h"
#include "clients/agent/session_testing.h"
#include "lib/base/error.h"

namespace parley::agent {
namespace {

class LevelTest : public SessionTest {};

TEST(FaultsTest, OnlyNamedErrorsAreFinal) {
  EXPECT_EQ(FaultOf(Error(absl::StatusCode::kNotFound, "NAME_NOT_FOUND", "")), Fault::kPasses);
  EXPECT_EQ(FaultOf(Error(absl::StatusCode::kUnavailable, "SOCKET_FAILED", "")), Fault::kPasses);
  EXPECT_EQ(FaultOf(Error(absl::StatusCode::kResourceExhausted, "DISK_FULL", "")), Fault::kPasses);
  EXPECT_EQ(FaultOf(Error(absl::StatusCode::kFailedPrecondition, "NOBODY_KNOWS_THIS", "")), Fault::kPasses);
  EXPECT_EQ(FaultOf(absl::InvalidArgumentError("without a reason")), Fault::kPasses);
  EXPECT_EQ(FaultOf(Error(absl::StatusCode::kAborted, "STREAM_REPLACED", "")), Fault::kTwice);
  EXPECT_EQ(FaultOf(Error(absl::StatusCode::kNotFound, "PARTICIPANT_NOT_FOUND", "")), Fault::kForgotten);
  EXPECT_EQ(FaultOf(Error(absl::StatusCode::kUnauthenticated, "KEY_REFUSED", "")), Fault::kKey);
  EXPECT_EQ(FaultOf(Error(absl::StatusCode::kFailedPrecondition, "TASK_ENDED", "")), Fault::kFinal);
}

// Its limit is an upper bound, however long the pauses have become.
TEST(FaultsTest, AClientThatDoesNotStayGivesUpAtItsLimit) {
  Options options;
  options.connect_timeout = absl::Milliseconds(50);
  options.min_backoff = absl::Hours(1);
  options.max_backoff = absl::Hours(1);
  Retry retry(options, /*patient=*/false);
  const absl::Status away = Error(absl::StatusCode::kUnavailable, "CONNECTION_REFUSED", "");
  absl::Duration wait;
  ASSERT_EQ(retry.Next(away, &wait), absl::OkStatus());
  EXPECT_LE(wait, absl::Milliseconds(50));
  Retry patient(options, /*patient=*/true);
  for (int i = 0; i < 50; ++i) ASSERT_EQ(patient.Next(away, &wait), absl::OkStatus());
}

TEST(HindranceTest, TheSetsOwnFaultsAreNamed) {
  const auto blame = [](absl::string_view reason) {
    return BlameOf(Error(absl::StatusCode::kFailedPrecondition, reason, ""));
  };
  EXPECT_EQ(blame("MANIFEST_SIGNATURE"), Blame::kSet);
  EXPECT_EQ(blame("CHUNK_DIGEST"), Blame::kSet);
  EXPECT_EQ(blame("OPERATOR_REVOKED"), Blame::kSet);
  EXPECT_EQ(blame("MANIFEST_EXPIRED"), Blame::kMoment);
  EXPECT_EQ(blame("OPERATOR_TIME"), Blame::kMoment);
  EXPECT_EQ(blame("CHAIN_TIME"), Blame::kMoment);
  EXPECT_EQ(blame("TARGET_CHANGED"), Blame::kMoment);
  EXPECT_EQ(blame("NOBODY_KNOWS_THIS"), Blame::kMoment);
  EXPECT_EQ(blame("TARGET_MOUNT"), Blame::kPerson);
  EXPECT_EQ(blame("TARGET_PARENT"), Blame::kPerson);
}

TEST(HindranceTest, TextForTheWireIsUtf8AndShort) {
  EXPECT_EQ(Detail("line\n\tgrün"), "line\n\tgrün");
  EXPECT_EQ(Detail("\xff\xc0\x80\x1b"), "????");
  EXPECT_EQ(Detail("\xed\xa0\x80"), "???");
  EXPECT_EQ(Detail(std::string(5000, 'x')).size(), 4096u);
}

// C1
TEST_F(LevelTest, ACommandGivenAgainAsksForAnotherAttempt) {
  taskd_.Publish({{"site.conf", "new"}});
  const std::string check = absl::StrCat("test -e ", folder_ / "mended", " || { echo not mended; false; }");
  JoinOptions options = Options();
  options.hooks.check = check;
  auto outcome = Join(std::move(options), &log_);
  ASSERT_EQ(outcome.status(), absl::OkStatus());
  EXPECT_EQ(outcome->state, Participant::STATE_ROLLED_BACK);
  EXPECT_EQ(outcome->reason, "check_failed");
  WriteTestFile(folder_ / "mended", "");
  const size_t declared = taskd_.declarations().size();
  options = Options();
  options.hooks.check = check;
  options.key.reset();
  outcome = Join(std::move(options), &log_);
  ASSERT_EQ(outcome.status(), absl::OkStatus());
  EXPECT_EQ(outcome->state, Participant::STATE_CONFIRMED);
  EXPECT_TRUE(taskd_.declarations()[declared].retry());
  EXPECT_EQ(ReadTestFile(Target() + "/site.conf"), "new");
}

TEST_F(LevelTest, AServerThatDoesNotOfferItAgainIsQuotedInTheDetail) {
  taskd_.faults.old = true;
  taskd_.Publish({{"bad", ""}});
  ASSERT_EQ(RunJoin().status(), absl::OkStatus());
  const Outcome outcome = RunToEnd();
  EXPECT_EQ(outcome.state, Participant::STATE_ROLLED_BACK);
  EXPECT_EQ(outcome.reason, "rolled_back");
  EXPECT_EQ(outcome.detail.substr(0, 16), "line 14 is wrong");
  EXPECT_TRUE(absl::StrContains(outcome.detail, "upgrade taskd")) << outcome.detail;
}

// An agent that is started again, e.g. by its service manager, is no person who asks.
TEST_F(LevelTest, AClientThatStaysDoesNotAskForAnotherAttempt) {
  taskd_.Publish({{"bad", ""}});
  StartFollowing(Options());
  log_.Await("rolled back");
  taskd_.AwaitState(Participant::STATE_ROLLED_BACK);
  for (const auto& declaration : taskd_.declarations()) EXPECT_FALSE(declaration.retry());
  EXPECT_EQ(taskd_.declarations().back().instance().size(), 16u);
  EXPECT_EQ(taskd_.declarations().back().setup_digest().size(), 32u);
}

// C3, C4: the lease was over while the machine slept.
TEST_F(LevelTest, DeclaresAgainWhenItsTimeIsOver) {
  taskd_.Publish(new_);
  taskd_.faults.on_report = [this, timed_out = false](FakeTaskd::State state) mutable {
    if (state == Participant::STATE_TRANSFERRING && !std::exchange(timed_out, true)) {
      taskd_.PushState(Participant::STATE_TIMED_OUT);
    }
  };
  const Outcome outcome = RunToEnd();
  EXPECT_EQ(outcome.state, Participant::STATE_CONFIRMED);
  EXPECT_EQ(Installed(), merged_);
}

// C6
TEST_F(LevelTest, WaitsForATargetThatCannotTakeItNow) {
  taskd_.Publish(new_);
  const std::string pipe = MakePipeInTheWay();
  StartFollowing(Options());
  taskd_.AwaitState(Participant::STATE_INELIGIBLE);
  EXPECT_EQ(taskd_.reason(), "target_special_file");
  ASSERT_EQ(unlink(pipe.c_str()), 0);
  log_.Await("confirmed 1");
  EXPECT_EQ(log_.Count("hindered target_special_file"), 1);
  EXPECT_EQ(Installed(), merged_);
}

TEST_F(LevelTest, GoesOnWithTheSameOfferOfAnOldServer) {
  taskd_.faults.old = true;
  taskd_.Publish(new_);
  const std::string pipe = MakePipeInTheWay();
  StartFollowing(Options());
  log_.Await("hindered target_special_file");
  ASSERT_EQ(unlink(pipe.c_str()), 0);
  log_.Await("confirmed 1");
  EXPECT_EQ(taskd_.history().front(), Participant::STATE_OFFERED);
  EXPECT_EQ(taskd_.history()[1], Participant::STATE_ACCEPTED);
}

TEST_F(LevelTest, AClientThatDoesNotStayWaitsForAHindranceOnlySoLong) {
  taskd_.Publish(new_);
  MakePipeInTheWay();
  JoinOptions options = Options();
  options.hindrance_timeout = absl::Milliseconds(100);
  EXPECT_EQ(Reason(Join(std::move(options), &log_).status()), "TARGET_SPECIAL_FILE");
  EXPECT_EQ(taskd_.state(), Participant::STATE_INELIGIBLE);
}

// H1
TEST_F(LevelTest, TellsTheServerWhatAPersonMustMend) {
  taskd_.Publish(new_);
  WriteTestFile(folder_ / "file", "");
  JoinOptions options = Options();
  options.into = folder_ / "file";
  EXPECT_EQ(Reason(Join(std::move(options), &log_).status()), "TARGET_NOT_FOLDER");
  EXPECT_EQ(taskd_.joins(), 1);
  EXPECT_EQ(taskd_.state(), Participant::STATE_INELIGIBLE);
  EXPECT_EQ(taskd_.reason(), "target_not_folder");
}

TEST_F(LevelTest, AClientThatStaysLooksAgainWhetherAPersonHasMendedIt) {
  taskd_.Publish(new_);
  JoinOptions options = Options();
  options.into = folder_ / "above/target";
  StartFollowing(std::move(options));
  taskd_.AwaitState(Participant::STATE_INELIGIBLE);
  EXPECT_EQ(taskd_.reason(), "target_parent");
  std::filesystem::create_directory(folder_ / "above");
  log_.Await("confirmed 1");
  EXPECT_EQ(ReadTree(folder_ / "above/target"), new_);
}

// By a clock that is ahead the offer seems to be over.
TEST_F(LevelTest, WaitsForAClockThatIsAhead) {
  taskd_.Publish(new_);
  taskd_.faults.deadline = clock_.Now() + absl::Minutes(50);
  FakeClock ahead(clock_.Now() + absl::Hours(2));
  JoinOptions options = Options();
  options.clock = &ahead;
  StartFollowing(std::move(options));
  taskd_.AwaitState(Participant::STATE_INELIGIBLE);
  EXPECT_EQ(taskd_.reason(), "manifest_expired");
  ahead.Advance(-absl::Hours(2));
  log_.Await("confirmed 1");
  StopIt();  // Before its clock goes.
}

// D2
TEST_F(LevelTest, AClientThatStaysWaitsForAServerThatIsAwayAtItsStart) {
  taskd_.Publish(new_);
  taskd_.Stop();
  JoinOptions options = Options();
  options.connect_timeout = absl::ZeroDuration();
  StartFollowing(std::move(options));
  while (log_.Count("disconnected CONNECTION_REFUSED") < 5) std::this_thread::yield();
  taskd_.Start();
  log_.Await("confirmed 1");
}

TEST_F(LevelTest, ADeviceWaitsForAServerThatIsAwayAtItsStart) {
  taskd_.Publish(new_);
  DeviceOptions options = Device();
  taskd_.Stop();
  options.connect_timeout = absl::ZeroDuration();
  StartDevice(std::move(options));
  while (log_.Count("disconnected CONNECTION_REFUSED") < 5) std::this_thread::yield();
  taskd_.Start();
  log_.Await("confirmed 1");
}

// D1
TEST_F(LevelTest, WaitsForANameThatCannotBeResolved) {
  taskd_.Publish(new_);
  ASSERT_EQ(RunJoin().status(), absl::OkStatus());
  taskd_.Publish({{"site.conf", "newer"}});
  JoinOptions options = Options();
  options.server = "no-such-name.invalid:7443";
  StartFollowing(std::move(options));
  while (log_.Count("disconnected NAME_NOT_FOUND") < 3) std::this_thread::yield();
  EXPECT_EQ(Installed(), merged_);
}

// K4
TEST_F(LevelTest, ObeysAndRemembersWhereTheServerIs) {
  taskd_.Publish(new_);
  JoinOptions options = Options();
  const std::string address = options.key->address;
  options.key->address = "127.0.0.1:1";
  options.server = address;
  ASSERT_EQ(Join(std::move(options), &log_).status(), absl::OkStatus());
  JoinOptions again = Options();
  again.key.reset();
  const Outcome outcome = RunToEnd(std::move(again));
  EXPECT_TRUE(outcome.ok());
  JoinOptions nonsense = Options();
  nonsense.server = "nonsense";
  EXPECT_EQ(Reason(Join(std::move(nonsense), nullptr).status()), "ADDRESS_INVALID");
}

// F1
TEST_F(LevelTest, WhatIsNotOnTheDiskIsInstalledAgain) {
  taskd_.Publish(new_);
  ASSERT_EQ(RunJoin().status(), absl::OkStatus());
  std::filesystem::remove_all(Target());
  const Outcome outcome = RunToEnd();
  EXPECT_EQ(outcome.state, Participant::STATE_CONFIRMED);
  EXPECT_TRUE(taskd_.drifted());
  EXPECT_EQ(Installed(), new_);
}

TEST_F(LevelTest, AFileThatWasEditedIsInstalledAgain) {
  taskd_.Publish(new_);
  ASSERT_EQ(RunJoin().status(), absl::OkStatus());
  WriteTestFile(Target() + "/site.conf", "edited");
  const Outcome outcome = RunToEnd();
  EXPECT_TRUE(outcome.ok());
  EXPECT_EQ(Installed(), merged_);
}

TEST_F(LevelTest, IsNotConfirmedByAnOldServerWhenTheDiskHasSomethingElse) {
  taskd_.faults.old = true;
  taskd_.Publish(new_);
  ASSERT_EQ(RunJoin().status(), absl::OkStatus());
  std::filesystem::remove_all(Target());
  EXPECT_EQ(Reason(RunJoin().status()), "DRIFTED");
}

// F2
TEST_F(LevelTest, NothingIsUpToDateBeforeAnApplyHasPassed) {
  taskd_.Publish(old_);
  JoinOptions options = Options();
  ASSERT_EQ(Join(std::move(options), &log_).status(), absl::OkStatus());
  taskd_.Publish(new_);
  options = Options();
  options.hooks.apply = "false";
  auto outcome = Join(std::move(options), &log_);
  EXPECT_EQ(taskd_.state(), Participant::STATE_ROLLBACK_FAILED);
  std::filesystem::remove(Running());
  taskd_.Publish(old_);
  outcome = RunJoin();
  ASSERT_EQ(outcome.status(), absl::OkStatus());
  EXPECT_EQ(outcome->state, Participant::STATE_CONFIRMED);
  EXPECT_EQ(ReadTestFile(Running()), "old");
}

// F3
TEST_F(LevelTest, AClientThatIsThereTwiceComesBackLessAndLessOften) {
  taskd_.Publish(new_);
  taskd_.faults.replaced = 2;
  const Outcome outcome = RunToEnd();
  EXPECT_TRUE(outcome.ok());
  EXPECT_EQ(log_.Count("disconnected STREAM_REPLACED"), 2);
}

// G1
TEST_F(LevelTest, ADeviceThatLostItsStateTakesItsNameBack) {
  taskd_.Publish(new_);
  StartDevice(Device());
  log_.Await("confirmed 1");
  StopIt();
  std::filesystem::remove_all(folder_ / "state");
  Cancellation cancellation;
  EventLog log;
  DeviceOptions options = Device();
  options.cancellation = &cancellation;
  std::thread device([&] { RunDevice(std::move(options), &log).IgnoreError(); });
  taskd_.Publish({{"site.conf", "newer"}});
  log.Await("confirmed 2");
  cancellation.Cancel();
  device.join();
  EXPECT_EQ(taskd_.joins(), 2);
}

TEST_F(LevelTest, ADeviceWhoseMemberKeyIsRefusedJoinsAnew) {
  taskd_.Publish(new_);
  StartDevice(Device());
  log_.Await("confirmed 1");
  taskd_.RevokeMember();
  taskd_.Stop();
  taskd_.Start();
  taskd_.Publish({{"site.conf", "newer"}});
  log_.Await("confirmed 2");
  EXPECT_EQ(taskd_.joins(), 2);
}

// G2
TEST_F(LevelTest, AClientThatTheServerDoesNotKnowAnyMoreJoinsAnew) {
  taskd_.Publish(new_);
  StartDevice(Device());
  log_.Await("confirmed 1");
  taskd_.Forget();
  taskd_.Stop();
  taskd_.Start();
  while (taskd_.joins() < 2) std::this_thread::yield();
  taskd_.Publish({{"site.conf", "newer"}});
  log_.Await("confirmed 2");
}

TEST_F(LevelTest, AJoinerWithAKeyAtHandJoinsAnew) {
  taskd_.Publish(new_);
  ASSERT_EQ(RunJoin().status(), absl::OkStatus());
  taskd_.Forget();
  const Outcome outcome = RunToEnd();
  EXPECT_TRUE(outcome.ok());
  EXPECT_EQ(taskd_.joins(), 2);
  JoinOptions without = Options();
  without.key.reset();
  taskd_.Forget();
  EXPECT_EQ(Reason(Join(std::move(without), &log_).status()), "PARTICIPANT_NOT_FOUND");
}

// E1: the task is over, and its server says nothing of it any more.
TEST_F(LevelTest, ADeviceSettlesWhatAnEarlierProcessLeftWithoutAServer) {
  LeaveUndecided("tasks/gone", new_);
  ASSERT_EQ(Installed(), merged_);
  DeviceOptions options = Device();
  taskd_.Stop();
  StartDevice(std::move(options));
  log_.Await("undecided tasks/gone");
  EXPECT_EQ(Installed(), merged_);
  PassTimeUntilDecided();
  EXPECT_EQ(Installed(), old_);
  EXPECT_EQ(ReadTestFile(Running()), "");
}

// E2, E3
TEST_F(LevelTest, RollsBackAfterItsTimeoutWhileTheServerIsAwayAndNotBefore) {
  taskd_.Publish(new_);
  ASSERT_EQ(RunJoin().status(), absl::OkStatus());
  LeaveUndecided("tasks/nginx", {{"site.conf", "cuts the machine off"}});
  taskd_.Stop();
  JoinOptions options = Options();
  options.connect_timeout = absl::ZeroDuration();
  StartJoin(std::move(options));
  while (log_.Count("disconnected CONNECTION_REFUSED") < 5) std::this_thread::yield();
  EXPECT_EQ(ReadTestFile(Target() + "/site.conf"), "cuts the machine off");
  PassTimeUntilDecided();
  thread_.join();
  EXPECT_EQ(Installed(), merged_);
  ASSERT_EQ(outcome_.status(), absl::OkStatus());
  EXPECT_EQ(outcome_->state, Participant::STATE_ROLLED_BACK);
}

// E1: what the server has confirmed is another set.
TEST_F(LevelTest, TakesBackWhatTheServerKnowsNothingOf) {
  taskd_.Publish(new_);
  ASSERT_EQ(RunJoin().status(), absl::OkStatus());
  LeaveUndecided("tasks/nginx", {{"site.conf", "of another life"}});
  const Outcome outcome = RunToEnd();
  EXPECT_TRUE(outcome.ok());
  EXPECT_TRUE(log_.Has("rolled back"));
  EXPECT_EQ(Installed(), merged_);
}

// A process for another task does not take up what it finds.
TEST_F(LevelTest, AnotherTaskSettlesWhatItFinds) {
  LeaveUndecided("tasks/other", {{"site.conf", "of another task"}});
  taskd_.Publish(new_);
  const Outcome outcome = RunToEnd();
  EXPECT_TRUE(outcome.ok());
  EXPECT_TRUE(log_.Has("rolling back interrupted"));
  EXPECT_EQ(Installed(), merged_);
}

TEST_F(LevelTest, SettlesWithoutAnything) {
  LeaveUndecided("tasks/other", new_);
  std::thread clock([this] { PassTimeUntilDecided(); });
  EXPECT_EQ(ResumePending(Options(), &log_), absl::OkStatus());
  clock.join();
  EXPECT_EQ(Installed(), old_);
  EXPECT_EQ(log_.Count("undecided tasks/other"), 1);
  EXPECT_EQ(log_.Count("rolled back"), 1) << "it ended before everybody knew";
  EXPECT_EQ(ResumePending(Options(), &log_), absl::OkStatus());
}

// What stood in the way of the clean-up is none of the set's faults.
TEST_F(LevelTest, AStoppedAgentSaysThatItsRollbackPasses) {
  taskd_.Publish(new_);
  Cancellation cancellation;
  JoinOptions options = Options();
  options.hooks.check = absl::StrCat("touch ", folder_ / "checking", "; cat ", folder_ / "gate");
  ASSERT_EQ(mkfifo((folder_ / "gate").c_str(), 0600), 0);
  taskd_.faults.confirm = [] { return grpc::Status(grpc::StatusCode::UNAVAILABLE, "away"); };
  options.cancellation = &cancellation;
  std::thread agent([&] { Join(std::move(options), &log_).status().IgnoreError(); });
  while (!std::filesystem::exists(folder_ / "checking")) std::this_thread::yield();
  cancellation.Cancel();
  WriteTestFile(folder_ / "gate", "");
  agent.join();
  EXPECT_EQ(Installed(), old_);
  taskd_.Stop();
  taskd_.faults.confirm = nullptr;
  taskd_.Start();
  const Outcome outcome = RunToEnd();
  EXPECT_EQ(outcome.state, Participant::STATE_CONFIRMED);
}

// B1
TEST_F(LevelTest, CommandsSeeTheNewSetByItsPathWhereverTheAgentWasStarted) {
  taskd_.Publish({{"app.conf", "BROKEN"}});
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(Target());
  JoinOptions options = Options();
  options.into = ".";
  options.hooks.check = "! grep -q BROKEN app.conf";
  const Outcome outcome = RunToEnd(std::move(options));
  std::filesystem::current_path(before);
  EXPECT_EQ(outcome.state, Participant::STATE_ROLLED_BACK);
  EXPECT_EQ(outcome.reason, "check_failed");
}

// C5
TEST_F(LevelTest, ATargetThatIsWrittenToIsTriedAgain) {
  taskd_.Publish(new_);
  std::atomic<bool> busy = true;
  std::thread writer([&] {
    for (int i = 0; busy; ++i) WriteTestFile(Target() + "/log", absl::StrCat(i));
  });
  StartFollowing(Options());
  // It may be lucky; with or without, it comes to a good end.
  while (!log_.Has("hindered target_changed") && !log_.Has("confirmed 1")) std::this_thread::yield();
  busy = false;
  writer.join();
  log_.Await("confirmed 1");
  EXPECT_FALSE(log_.Has("declined other"));
}

// What a client of before wrote stands only in the state folder.
TEST_F(LevelTest, GoesOnWithTheStateOfAnOlderVersion) {
  taskd_.Publish(new_);
  ASSERT_EQ(RunJoin().status(), absl::OkStatus());
  parley::agent::Installed older;
  older.set_revision(1);
  older.set_digest(payload::DigestFiles(MakePayload(new_).files));
  for (const auto& [path, content] : new_) older.add_paths(path);
  ASSERT_EQ(WriteRecord(folder_ / "state/tasks/nginx/installed", older), absl::OkStatus());
  std::filesystem::remove_all(folder_ / ".parley-target");
  const Outcome outcome = RunToEnd();
  EXPECT_TRUE(outcome.ok());
  EXPECT_FALSE(taskd_.drifted());
  EXPECT_EQ(taskd_.declarations().back().installed_revision(), 1);
  // A file that the next revision does not name goes.
  taskd_.Publish({{"site.conf", "newer"}});
  ASSERT_EQ(RunJoin().status(), absl::OkStatus());
  EXPECT_EQ(ReadTree(Target()), (Tree{{"keep", "mine"}, {"site.conf", "newer"}}));
}

}  // namespace
}  // namespace parley::agent
