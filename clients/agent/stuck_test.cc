// Clients that would wait for ever, give up too early, or say that all is well: what the state, the target's folders
// and a slow server do to a client, and how it gets on.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "clients/agent/faults.h"
#include "clients/agent/free_space.h"
#include "clients/agent/hindrance.h"
#include "clients/agent/session_testing.h"

namespace parley::agent {
namespace {

namespace fs = std::filesystem;

grpc::Status DeadlineExceeded() { return grpc::Status(grpc::StatusCode::DEADLINE_EXCEEDED, "Deadline Exceeded"); }

class StuckTest : public SessionTest {
 protected:
  // Fails on the old set too, until the file is there.
  Hooks FailingHooks() {
    Hooks hooks;
    hooks.apply = absl::StrCat("test -e ", folder_ / "mended", " || { echo cannot reload; exit 7; }");
    return hooks;
  }
  absl::Status ResumeWithTime(Observer* observer) {
    std::thread clock([this] { PassTimeUntilDecided(); });
    const absl::Status status = ResumePending(Options(), observer);
    clock.join();
    return status;
  }
  // Leaves what a process leaves that was killed in the apply command.
  void LeaveInTheApply(const std::string& task, const Tree& tree) {
    LeaveUndecided(task, tree, FailingHooks());
    auto folder = TargetFolder::Open(Target());
    ASSERT_TRUE(folder.ok()) << folder.status();
    auto installer = Installer::Open(folder->get(), {.clock = &clock_, .boot_clock = &boot_clock_});
    ASSERT_TRUE(installer.ok()) << installer.status();
    EXPECT_FALSE(installer->RunApply()->status.ok());
  }
};

TEST_F(StuckTest, ResumePendingSaysThatTheOldSetDoesNotWork) {
  LeaveInTheApply("tasks/other", new_);
  EventLog log;
  const absl::Status status = ResumeWithTime(&log);
  EXPECT_EQ(Reason(status), "ROLLBACK_FAILED") << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "tasks/other")) << status;
  ASSERT_EQ(log.rollback_failures.size(), 1u);
  EXPECT_TRUE(absl::StrContains(log.rollback_failures[0], "cannot reload")) << log.rollback_failures[0];
  EXPECT_EQ(Installed(), old_);
  // It does not become better by itself.
  EXPECT_EQ(Reason(ResumePending(Options(), &log_)), "ROLLBACK_FAILED");
}

TEST_F(StuckTest, ACommandGivenAgainAfterAFailedRollbackIsAnAttempt) {
  taskd_.Publish(new_);
  ASSERT_EQ(RunJoin().status(), absl::OkStatus());
  const Tree next = {{"site.conf", "newer"}};
  taskd_.Publish(next);
  taskd_.PushState(Participant::STATE_CHECKING);
  LeaveInTheApply("tasks/nginx", next);
  // Nobody was there to confirm in time, so that it was not the set's fault.
  boot_clock_.Advance(absl::Hours(1));
  EXPECT_EQ(Reason(ResumeWithTime(&log_)), "ROLLBACK_FAILED");
  WriteTestFile(folder_ / "mended", "");
  JoinOptions options = Options();
  options.key.reset();
  options.hooks = FailingHooks();
  const Outcome outcome = RunToEnd(std::move(options));
  EXPECT_EQ(outcome.state, Participant::STATE_CONFIRMED) << log_.All();
  EXPECT_EQ(ReadTestFile(Target() + "/site.conf"), "newer");
  EXPECT_EQ(log_.Count("hindered interrupted"), 0);
}

// The server is there and has too much to do: the time to reach it is over, and it is waited for all the same.
TEST_F(StuckTest, WaitsForAServerThatAnswersTooLate) {
  taskd_.Publish(new_);
  int joins = 3, negotiations = 3, confirms = 3;
  taskd_.faults.join = [&] { return joins-- > 0 ? DeadlineExceeded() : grpc::Status::OK; };
  taskd_.faults.negotiate = [&] { return negotiations-- > 0 ? DeadlineExceeded() : grpc::Status::OK; };
  taskd_.faults.confirm = [&] { return confirms-- > 0 ? DeadlineExceeded() : grpc::Status::OK; };
  JoinOptions options = Options();
  options.connect_timeout = absl::Nanoseconds(1);
  const Outcome outcome = RunToEnd(std::move(options));
  EXPECT_EQ(outcome.state, Participant::STATE_CONFIRMED);
  EXPECT_EQ(log_.Count("disconnected CONNECTION_TIMEOUT"), 9) << log_.All();
}

// The time to reach the server begins with the first try, and not while something else is waited for.
TEST_F(StuckTest, TheTimeToReachAServerBeginsWithTheFirstTry) {
  agent::Options options;
  options.connect_timeout = absl::Nanoseconds(1);
  Retry retry(options, /*patient=*/false);
  EXPECT_EQ(retry.left(), absl::Nanoseconds(1));
  retry.Begin();
  while (retry.left() > absl::ZeroDuration()) std::this_thread::yield();
  absl::Duration wait;
  const absl::Status late = Error(absl::StatusCode::kDeadlineExceeded, "CONNECTION_TIMEOUT", "");
  EXPECT_EQ(retry.Next(late, &wait), late);
  retry.Met();
  EXPECT_EQ(retry.Next(late, &wait), absl::OkStatus());
}

// The lid of a laptop does it, in the middle of a try or of a pause.
TEST(RetryTest, TheTimeOfAProcessThatIsStoppedDoesNotCount) {
  static absl::Duration now = absl::Hours(1);
  agent::Options options;
  options.connect_timeout = absl::Seconds(20);
  Retry retry(
      options, /*patient=*/false, +[] { return now; });
  const absl::Status away = Error(absl::StatusCode::kUnavailable, "CONNECTION_REFUSED", "");
  absl::Duration wait;
  retry.Begin();
  now += absl::Seconds(2);
  ASSERT_EQ(retry.Next(away, &wait), absl::OkStatus());
  now += wait + absl::Minutes(10);
  retry.Begin();
  EXPECT_EQ(retry.left(), absl::Seconds(18) - wait);
  const absl::Duration left = retry.left();
  now += absl::Minutes(10);
  ASSERT_EQ(retry.Next(away, &wait), absl::OkStatus());
  EXPECT_EQ(retry.left(), left);
  now += wait;
  retry.Begin();
  now += left;
  EXPECT_EQ(retry.Next(away, &wait), away) << "it was not stopped, and its time is over";
}

TEST_F(StuckTest, AClientThatStaysGoesOnAfterItsPlaceWasRemoved) {
  taskd_.Publish(new_);
  StartFollowing(Options());
  log_.Await("confirmed 1");
  taskd_.AwaitState(Participant::STATE_CONFIRMED);
  fs::remove_all(folder_ / ".parley-target");
  taskd_.Publish({{"site.conf", "newer"}});
  log_.Await("confirmed 2");
  EXPECT_EQ(ReadTestFile(Target() + "/site.conf"), "newer");
}

// A copy, as from a backup; the former one is somewhere else.
TEST_F(StuckTest, AFolderAboveThatIsReplacedIsNoFaultOfTheSet) {
  taskd_.Publish(new_);
  const std::string above = folder_ / "above";
  WriteTree(above + "/target", old_);
  JoinOptions options = Options();
  options.into = above + "/target";
  StartFollowing(std::move(options));
  log_.Await("confirmed 1");
  taskd_.AwaitState(Participant::STATE_CONFIRMED);
  fs::rename(above, folder_ / "former");
  fs::copy(folder_ / "former", above, fs::copy_options::recursive);
  fs::permissions(above + "/.parley-target", fs::perms::owner_all);
  taskd_.Publish({{"site.conf", "newer"}});
  log_.Await("confirmed 2");
  EXPECT_EQ(ReadTestFile(above + "/target/site.conf"), "newer");
  EXPECT_EQ(ReadTestFile(folder_ / "former/target/site.conf"), "new");
  EXPECT_EQ(log_.Count("rolled back"), 0) << log_.All();
}

TEST_F(StuckTest, ADamagedRecordIsToldToTheServer) {
  taskd_.Publish(new_);
  ASSERT_EQ(RunJoin().status(), absl::OkStatus());
  WriteTestFile(folder_ / ".parley-target/record", "damaged");
  StartFollowing(Options());
  log_.Await("hindered state_damaged");
  while (!taskd_.declarations().back().has_hindrance()) std::this_thread::yield();
  EXPECT_EQ(taskd_.declarations().back().hindrance().code(), "state_damaged");
  EXPECT_TRUE(absl::StrContains(taskd_.declarations().back().hindrance().detail(), "record"));
  ASSERT_EQ(unlink((folder_ / ".parley-target/record").c_str()), 0);
  log_.Await("confirmed 1");
}

TEST_F(StuckTest, ATargetThatIsAFileByNowIsNamedAndToldToTheServer) {
  taskd_.Publish(new_);
  StartFollowing(Options());
  log_.Await("confirmed 1");
  taskd_.AwaitState(Participant::STATE_CONFIRMED);
  fs::rename(Target(), folder_ / "away");
  WriteTestFile(Target(), "");
  taskd_.Publish({{"site.conf", "newer"}});
  log_.Await("hindered target_not_folder");
  while (taskd_.declarations().back().hindrance().code() != "target_not_folder") std::this_thread::yield();
  fs::remove(Target());
  fs::rename(folder_ / "away", Target());
  log_.Await("confirmed 2");
}

TEST_F(StuckTest, AStateFolderThatCannotBeIsNamedAtOnce) {
  fs::create_symlink("loop", folder_ / "loop");
  for (const std::string& path : {folder_ / "loop", folder_ / std::string(300, 'a'), folder_ / "loop/below"}) {
    JoinOptions options = Options();
    options.state_dir = path;
    const absl::Status status = Join(std::move(options), &log_).status();
    EXPECT_EQ(Reason(status), "STATE_UNUSABLE") << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "another folder")) << status;
  }
  EXPECT_EQ(taskd_.joins(), 0);
}

TEST_F(StuckTest, ALinkThatLeadsElsewhereIsNamedAndToldToTheServer) {
  taskd_.Publish(new_);
  WriteTree(folder_ / "second", old_);
  fs::create_symlink("target", folder_ / "link");
  JoinOptions options = Options();
  options.into = folder_ / "link";
  ASSERT_EQ(Join(std::move(options), &log_).status(), absl::OkStatus());
  fs::remove(folder_ / "link");
  fs::create_symlink("second", folder_ / "link");
  options = Options();
  options.into = folder_ / "link";
  const absl::Status status = Join(std::move(options), &log_).status();
  EXPECT_EQ(Reason(status), "STATE_CONFLICT");
  EXPECT_TRUE(absl::StrContains(
      status.message(), absl::StrCat(folder_ / "link", " leads to ", folder_ / "second", " now; it led to ", Target())))
      << status;
  EXPECT_EQ(taskd_.declarations().back().hindrance().code(), "state_conflict");
  EXPECT_EQ(ReadTree(folder_ / "second"), old_);
}

TEST_F(StuckTest, SaysWhatIsInstalledAlready) {
  taskd_.Publish(new_);
  ASSERT_EQ(RunJoin().status(), absl::OkStatus());
  taskd_.PushState(Participant::STATE_CONFIRMED);
  EventLog log;
  ASSERT_EQ(Join(Options(), &log).status(), absl::OkStatus());
  EXPECT_EQ(log.up_to_date, 1);
}

TEST_F(StuckTest, ThePlaceOfATargetIsNoTarget) {
  fs::create_directories(folder_ / ".parley-target/tree/sub");
  for (const char* path : {".parley-target", ".parley-target/tree", ".parley-target/tree/sub", ".parley-new"}) {
    EXPECT_EQ(Reason(TargetFolder::Open(folder_ / path).status()), "TARGET_ROOT") << path;
  }
  EXPECT_TRUE(TargetFolder::Open(folder_ / ".parleying").ok());
}

TEST_F(StuckTest, AFileOfTheKernelsIsNoTarget) {
  EXPECT_EQ(Reason(TargetFolder::Open("/proc/sys/kernel/hostname", TargetFolder::Kind::kFile).status()),
            "TARGET_MOUNT");
}

// The check takes both sets away, so that the old one cannot be brought back as long as that is so.
class BlockedTest : public StuckTest {
 protected:
  BlockedTest() { taskd_.Publish(new_); }
  JoinOptions Blocking() {
    JoinOptions options = Options();
    options.hooks.check = absl::StrCat("test -e ", folder_ / "mended", " && exit 0; mv ", OldSet(), " ", Away(),
                                       "; mv ", Target(), " ", folder_ / "gone", "; false");
    options.hooks.apply.clear();
    return options;
  }
  void Mend() {
    WriteTestFile(folder_ / "mended", "");
    fs::rename(Away(), OldSet());
  }
  std::string OldSet() const { return folder_ / ".parley-target/tree"; }
  std::string Away() const { return folder_ / "away"; }
  // Each try to bring the old set back is noted in the place.
  fs::file_time_type LastTry() const { return fs::last_write_time(folder_ / ".parley-target"); }
  // Enough for many tries, each of which would say something.
  void LetTimePass() {
    for (int i = 0; i < 3; ++i) log_.AwaitNews(absl::Milliseconds(100));
  }
  static constexpr absl::Duration kForEver = absl::Hours(100'000);
};

TEST_F(BlockedTest, ARollbackThatIsBlockedIsNotTriedAgainBeforeItsPauseIsOver) {
  JoinOptions options = Blocking();
  options.min_recheck = options.max_recheck = kForEver;
  StartFollowing(std::move(options));
  log_.Await("hindered rollback_failed");
  taskd_.AwaitState(Participant::STATE_ROLLBACK_FAILED);
  const fs::file_time_type last = LastTry();
  const size_t declared = taskd_.declarations().size();
  // Another connection brings nothing new either.
  taskd_.Stop();
  taskd_.Start();
  while (taskd_.declarations().size() == declared) std::this_thread::yield();
  LetTimePass();
  EXPECT_EQ(LastTry(), last) << log_.All();
  EXPECT_EQ(taskd_.declarations().size(), declared + 1);
  EXPECT_EQ(log_.Count("hindered rollback_failed"), 1) << log_.All();
  // What a person publishes is an attempt at once.
  Mend();
  taskd_.Publish({{"site.conf", "newer"}});
  log_.Await("rolled back");
  log_.Await("confirmed 2");
}

TEST_F(BlockedTest, ARollbackThatIsBlockedIsToldOnceAndGoesOnWhenTheWayIsFree) {
  JoinOptions options = Blocking();
  StartFollowing(std::move(options));
  log_.Await("hindered rollback_failed");
  for (int tries = 1; tries < 6; ++tries) {
    for (const fs::file_time_type last = LastTry(); LastTry() == last;) std::this_thread::yield();
  }
  EXPECT_EQ(log_.Count("hindered rollback_failed"), 1) << log_.All();
  EXPECT_EQ(log_.rollback_failures.size(), 1u);
  EXPECT_EQ(log_.Count("rolling back check_failed"), 1);
  Mend();
  log_.Await("rolled back");
  taskd_.Publish({{"site.conf", "newer"}});
  log_.Await("confirmed 2");
}

// Behind the swap there is something that is gone with the new set: in time, the old set is in place much longer.
TEST_F(BlockedTest, ARollbackThatPassesIsFollowedByAPause) {
  JoinOptions options = Options();
  options.hooks.check = "rm conf.d/a && mkfifo conf.d/a";
  options.hooks.apply.clear();
  options.min_recheck = options.max_recheck = kForEver;
  StartFollowing(std::move(options));
  log_.Await("rolled back");
  taskd_.AwaitState(Participant::STATE_ROLLED_BACK);
  LetTimePass();
  EXPECT_EQ(log_.Count("rolled back"), 1) << log_.All();
  EXPECT_EQ(log_.Count("checked"), 1);
  EXPECT_EQ(Installed(), old_);
  taskd_.Publish({{"conf.d/a", "newer"}});
  while (log_.Count("rolled back") < 2) std::this_thread::yield();
}

class WatchTest : public testing::Test {
 protected:
  WatchTest() { now_ = absl::Hours(1); }
  static absl::Status Because(absl::string_view reason) {
    return Error(absl::StatusCode::kUnavailable, reason, "in the way");
  }
  static inline absl::Duration now_;
  HindranceWatch watch_{agent::Options(), +[] { return now_; }};
};

TEST_F(WatchTest, ThePausesGrowAlsoWhenReasonsTakeTurns) {
  int looks = 0;
  int told = 0;
  for (const absl::Duration end = now_ + absl::Hours(1); now_ < end; ++looks) {
    told += watch_.Begin(Because(looks % 2 == 0 ? "ROLLBACK_FAILED" : "TARGET_IMMUTABLE")) ? 1 : 0;
    now_ += watch_.left();
    // It seems to be over, and is not.
    if (looks % 3 == 0) watch_.End();
  }
  EXPECT_EQ(told, 2);
  EXPECT_GE(looks, 60) << "at least once a minute";
  EXPECT_LE(looks, 300);
}

TEST_F(WatchTest, WhatWasGoneForAWhileIsNews) {
  EXPECT_TRUE(watch_.Begin(Because("DISK_FULL")));
  EXPECT_FALSE(watch_.Begin(Because("DISK_FULL")));
  watch_.End();
  now_ += absl::Minutes(9);
  EXPECT_FALSE(watch_.Begin(Because("DISK_FULL")));
  watch_.End();
  now_ += absl::Minutes(10);
  EXPECT_TRUE(watch_.Begin(Because("DISK_FULL")));
  EXPECT_LE(watch_.left(), absl::Seconds(2)) << "it begins anew";
  watch_.Reset();
  EXPECT_TRUE(watch_.Begin(Because("DISK_FULL")));
}

TEST(FreeSpaceTest, IsUnknownWhereTheFileSystemGivesNoSize) {
  struct statvfs space = {};
  space.f_frsize = 4096;
  EXPECT_EQ(FreeBytes(space), 0);
  space.f_blocks = 100;
  EXPECT_EQ(FreeBytes(space), 1) << "full, which is known";
  space.f_bavail = 2;
  EXPECT_EQ(FreeBytes(space), 8192);
  EXPECT_GT(FreeBytes({"/tmp"}), 0);
  EXPECT_EQ(FreeBytes({"/tmp", "/nowhere/at/all"}), FreeBytes({"/nowhere/at/all", "/tmp"}));
}

}  // namespace
}  // namespace parley::agent
