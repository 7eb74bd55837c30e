// Somebody writes to the target, or moves it, at the worst of moments: between the last look and the rename, or while
// the update is undecided.
#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "clients/agent/installer_testing.h"
#include "clients/agent/program_testing.h"
#include "clients/agent/record.h"
#include "lib/base/file.h"

namespace parley::agent {
namespace {

namespace fs = std::filesystem;

class OvertakenTest : public InstallerTest {
 protected:
  // Runs `body` in a child and stops it before and after its first call of `number`; what the test does then happens in
  // the very middle.
  void AtCall(uint64_t number, const std::function<int()>& body, const std::function<void()>& before,
              const std::function<bool()>& goes_on) {
    const pid_t child = fork();
    if (child == 0) {
      ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
      raise(SIGSTOP);
      _exit(body());
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL), 0);
    bool entered = false, done = false;
    for (int signal = 0;;) {
      ASSERT_EQ(ptrace(done ? PTRACE_CONT : PTRACE_SYSCALL, child, nullptr, signal), 0);
      ASSERT_EQ(waitpid(child, &status, 0), child);
      if (WIFEXITED(status) || WIFSIGNALED(status)) break;
      signal = WSTOPSIG(status) == (SIGTRAP | 0x80) || WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
      if (WSTOPSIG(status) != (SIGTRAP | 0x80) || done) continue;
      __ptrace_syscall_info call = {};
      ASSERT_GT(ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof(call), &call), 0);
      if (!entered && call.op == PTRACE_SYSCALL_INFO_ENTRY && call.entry.nr == number) {
        entered = true;
        before();
        continue;
      }
      if (!entered) continue;
      done = true;
      if (goes_on()) continue;
      kill(child, SIGKILL);
      ASSERT_EQ(waitpid(child, &status, 0), child);
      break;
    }
    EXPECT_TRUE(entered) << "the call was never made, so that this shows nothing";
    exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  // The exchange of two names, of which RENAME_EXCHANGE is the flag in the fifth argument. Probes of the file system
  // come before Swap.
  void AtTheSwap(const std::function<void()>& before, bool goes_on = true) {
    Open();
    ASSERT_EQ(Stage({{"site.conf", "new"}}), absl::OkStatus());
    AtCall(
        SYS_renameat2, [this] { return Reason(installer_->Swap()) == "TARGET_CHANGED" ? 7 : 8; }, before,
        [goes_on] { return goes_on; });
    Close();
  }
  int exit_code_ = -1;
};

TEST_F(OvertakenTest, AFolderThatTakesTheTargetsNameBeforeTheExchangeIsNotRemoved) {
  WriteTestFile(folder_ / "other/site.conf", "precious");
  AtTheSwap([this] {
    fs::rename(Target(), folder_ / "away");
    fs::rename(folder_ / "other", Target());
  });
  EXPECT_EQ(exit_code_, 7);
  EXPECT_EQ(Installed(), (Tree{{"site.conf", "precious"}}));
  EXPECT_EQ(ReadTree(folder_ / "away"), (Tree{{"keep", "mine"}, {"site.conf", "old"}}));
}

TEST_F(OvertakenTest, WhatIsWrittenBeforeTheExchangeIsNotRemoved) {
  AtTheSwap([this] { WriteTestFile(Target() + "/late.conf", "late"); });
  EXPECT_EQ(exit_code_, 7);
  EXPECT_EQ(Installed(), (Tree{{"keep", "mine"}, {"late.conf", "late"}, {"site.conf", "old"}}));
}

TEST_F(OvertakenTest, ALinkThatTakesTheTargetsNameBeforeTheExchangeStaysALink) {
  WriteTestFile(folder_ / "other/site.conf", "precious");
  AtTheSwap([this] {
    fs::rename(Target(), folder_ / "away");
    fs::create_symlink("other", Target());
  });
  EXPECT_EQ(exit_code_, 7);
  EXPECT_EQ(fs::read_symlink(Target()), "other");
}

// The process that would have looked was killed.
TEST_F(OvertakenTest, TheNextProcessLooksAtWhatWasSwappedOut) {
  for (const Method method : {Method::kExchange, Method::kFiles}) {
    options_.method = method;
    AtTheSwap([this] { WriteTestFile(Target() + "/site.conf", "written late"); }, /*goes_on=*/false);
    Open();
    EXPECT_FALSE(installer_->pending().has_value());
    EXPECT_EQ(Installed(), (Tree{{"keep", "mine"}, {"site.conf", "written late"}}));
    ASSERT_EQ(Install({{"a", "1"}}), absl::OkStatus());
    ASSERT_EQ(RollBack(), absl::OkStatus());
  }
}

TEST_F(OvertakenTest, AFileThatIsWrittenBeforeItsExchangeIsNotRemoved) {
  options_.method = Method::kFiles;
  AtTheSwap([this] { WriteTestFile(Target() + "/site.conf", "written late"); });
  EXPECT_EQ(exit_code_, 7);
  EXPECT_EQ(InstalledFiles(), (Tree{{"keep", "mine"}, {"site.conf", "written late"}}));
}

// With a command that removes the folder in which it stands.
class RemovedTest : public AnyMethodTest {
 protected:
  // With method files the rest of the folder has no copy.
  Tree Old() const {
    return GetParam() == Method::kExchange ? Tree{{"keep", "mine"}, {"site.conf", "old"}} : Tree{{"site.conf", "old"}};
  }
  void RemoveTarget() {
    plan_.hooks.apply = "grep -q new site.conf || exit 0; rm -rf \"$PARLEY_TARGET\"; exit 1";
    Open();
    EXPECT_FALSE(Install({{"site.conf", "new"}}).ok());
    EXPECT_FALSE(fs::exists(Target()));
  }
};
INSTANTIATE_TEST_SUITE_P(Overtaken, RemovedTest, testing::Values(Method::kExchange, Method::kFiles), MethodName);

TEST_P(RemovedTest, TheOldSetComesBackByItself) {
  RemoveTarget();
  EXPECT_EQ(RollBack(), absl::OkStatus());
  EXPECT_EQ(Installed(), Old());
  EXPECT_TRUE(PlaceIsClean());
}

TEST_P(RemovedTest, TheNextProcessBringsTheOldSetBackByItself) {
  RemoveTarget();
  Open();
  if (installer_->pending().has_value()) EXPECT_EQ(RollBack(), absl::OkStatus());
  EXPECT_EQ(Installed(), Old());
  EXPECT_TRUE(PlaceIsClean());
  EXPECT_TRUE(View().rollback.has_value());
}

TEST_P(RemovedTest, WhatSomebodyHasPutThereIsKeptBesideTheOldSet) {
  RemoveTarget();
  WriteTestFile(Target() + "/theirs", "of somebody");
  EXPECT_EQ(RollBack(), absl::OkStatus());
  if (GetParam() == Method::kFiles) {
    EXPECT_EQ(Installed(), (Tree{{"site.conf", "old"}, {"theirs", "of somebody"}}));
    return;
  }
  EXPECT_EQ(Installed(), Old());
  EXPECT_EQ(ReadTestFile(Place() + "/kept-1/theirs"), "of somebody");
  Open();
  EXPECT_EQ(ReadTestFile(Place() + "/kept-1/theirs"), "of somebody") << "it was removed at the next start";
}

// With a command that removes the place, and the old set with it.
class LostPlaceTest : public AnyMethodTest {
 protected:
  void Apply(const std::string& command) {
    plan_.hooks.apply = command;
    Open();
    Install({{"site.conf", "new"}, {"added", "new"}}).IgnoreError();
  }
};
INSTANTIATE_TEST_SUITE_P(Overtaken, LostPlaceTest, testing::Values(Method::kExchange, Method::kFiles), MethodName);

TEST_P(LostPlaceTest, ARollbackSaysThatTheOldSetIsLostAndEndsIt) {
  for (const std::string& removed : {Place(), Place() + "/*"}) {
    Apply("rm -rf " + removed + "; exit 1");
    const absl::Status status = RollBack();
    EXPECT_EQ(Reason(status), "ROLLBACK_FAILED");
    EXPECT_TRUE(absl::StrContains(status.message(), "cannot come back")) << status;
    EXPECT_FALSE(installer_->pending().has_value());
    EXPECT_EQ(ReadTestFile(Target() + "/site.conf"), "new");
    EXPECT_TRUE(View().rollback->failed);
    EXPECT_TRUE(PlaceIsClean());
    // It is no end: the next one is installed over what is there now.
    plan_.hooks.apply.clear();
    Open();
    ASSERT_EQ(InstallAndCommit({{"site.conf", "newer"}}, 2), absl::OkStatus());
    fs::remove_all(Place());
    WriteTestFile(Target() + "/site.conf", "old");
  }
}

TEST_P(LostPlaceTest, WhatWasNotThereBeforeIsTakenBackAllTheSame) {
  fs::remove_all(Target());
  Apply("rm -rf " + Place() + "; exit 1");
  EXPECT_EQ(RollBack(), absl::OkStatus());
  EXPECT_EQ(InstalledFiles(), Tree());
}

TEST_P(LostPlaceTest, AnUpdateThatPassesIsCommittedInAPlaceMadeAnew) {
  Apply("rm -rf " + Place());
  ASSERT_EQ(installer_->Commit(), absl::OkStatus());
  Open();
  EXPECT_EQ(View().revision, 1);
  EXPECT_EQ(installer_->Read(plan_.task)->digest, View().digest);
  EXPECT_TRUE(target_->IsCurrent());
}

// The old set is somewhere, and not where the target was.
TEST_P(LostPlaceTest, ARollbackSaysThatTheFolderAboveWasMoved) {
  WriteTree(folder_ / "above/target", {{"site.conf", "old"}});
  plan_.hooks.apply = "mv " + folder_ / "above " + folder_ / "away; mkdir -p \"$PARLEY_TARGET\"; exit 1";
  Open(folder_ / "above/target");
  EXPECT_FALSE(Install({{"site.conf", "new"}}).ok());
  const absl::Status status = RollBack();
  EXPECT_EQ(Reason(status), "ROLLBACK_FAILED");
  EXPECT_TRUE(absl::StrContains(status.message(), "moved the folder above")) << status;
  EXPECT_FALSE(installer_->pending().has_value());
  EXPECT_EQ(ReadTestFile(folder_ / "away/target/site.conf"), "old");
}

TEST_P(LostPlaceTest, APlaceThatIsRemovedBeforeTheSwapLeavesTheOldSet) {
  Open();
  ASSERT_EQ(Stage({{"site.conf", "new"}, {"added", "new"}}), absl::OkStatus());
  fs::remove_all(Place());
  EXPECT_FALSE(installer_->Swap().ok());
  if (installer_->pending().has_value()) EXPECT_EQ(RollBack(), absl::OkStatus());
  EXPECT_EQ(InstalledFiles(), (Tree{{"keep", "mine"}, {"site.conf", "old"}}));
}

TEST_F(InstallerTest, ANewTargetThatACommandHasRemovedLeavesNothing) {
  fs::remove_all(Target());
  plan_.hooks.apply = "rm -rf \"$PARLEY_TARGET\"; exit 1";
  Open();
  EXPECT_FALSE(Install({{"site.conf", "new"}}).ok());
  EXPECT_EQ(RollBack(), absl::OkStatus());
  EXPECT_FALSE(fs::exists(Target()));
}

}  // namespace
}  // namespace parley::agent
