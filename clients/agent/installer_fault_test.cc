// kill -9 at every moment: whatever the process was doing, the target is the whole old set or the whole new one, and
// the next process brings it to an end.
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <random>
#include <string>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "clients/agent/fake_payload.h"
#include "clients/agent/installer.h"
#include "clients/agent/namespace_testing.h"
#include "gtest/gtest.h"

namespace parley::agent {
namespace {

// Revision n of the payload; every other one has a file of its own, and folders come and go.
Tree PayloadOf(int64_t revision) {
  const std::string text = absl::StrCat("revision ", revision);
  Tree tree = {
      {"a", text}, {absl::StrCat("sub", revision % 3, "/b"), text}, {"link", absl::StrCat("-> sub", revision % 3)}};
  if (revision % 2 == 0) tree["even"] = text;
  return tree;
}

// What the target must be with revision n installed; 0 is what was there before.
Tree TargetOf(int64_t revision) {
  Tree tree = revision == 0 ? Tree() : PayloadOf(revision);
  tree["keep/mine"] = "mine";
  if (revision == 0) tree["a"] = "from before";
  return tree;
}

enum class How { kExchange, kFiles, kFilesWithoutExchange };

std::string NameOf(How how) {
  return how == How::kExchange ? "Exchange" : how == How::kFiles ? "Files" : "FilesWithoutExchange";
}

class KillTest : public testing::Test {
 protected:
  explicit KillTest(How how) {
    options_.method = how == How::kExchange ? Method::kExchange : Method::kFiles;
    options_.can_exchange = how != How::kFilesWithoutExchange;
    options_.proc = "";  // Looking at every process of the machine has no effect on the disk.
    std::filesystem::create_directories(folder_ / "state");
    WriteTree(Target(), TargetOf(0));
    WriteTestFile(folder_ / "running", TargetOf(0).at("a"));
    plan_.task = "tasks/t";
    plan_.attempt = 1;
    plan_.state_folder = folder_ / "state";
    plan_.hooks.check = "true";
    plan_.hooks.apply = absl::StrCat("cp $PARLEY_TARGET/a ", folder_ / "running");
  }

  std::string Target() const { return root_ + "/target"; }
  bool OnlyTheRecordIsLeft() const {
    const Tree left = ReadTree(root_ + "/.parley-target");
    return left.empty() || (left.size() == 1 && left.count("record") == 1);
  }

  // What a whole process does: recover, then install the revision and keep it, or roll it back.
  bool Process(int64_t revision, bool keep) {
    auto target = TargetFolder::Open(Target());
    if (!target.ok()) return false;
    auto installer = Installer::Open(target->get(), options_);
    if (!installer.ok()) return false;
    if (!installer->pending().has_value()) {
      const FakePayload payload = MakePayload(PayloadOf(revision));
      const auto read = [&payload](absl::string_view digest) { return payload.Read(digest); };
      if (!installer->Stage(plan_, payload.Manifest("tasks/t", revision), read).ok()) return false;
      if (!installer->Swap().ok()) return false;
    }
    return Finish(&*installer, keep);
  }

  bool Finish(Installer* installer, bool keep) {
    if (!installer->pending()->applied) {
      if (!installer->RunCheck().status.ok()) return false;
      const auto applied = installer->RunApply();
      if (!applied.ok() || !applied->status.ok()) return false;
    }
    if (keep) return installer->Commit().ok();
    return installer->BeginRollback("check_failed", "", false).ok() && installer->FinishRollback().ok();
  }

  // After a kill: nothing but whole sets, before and after recovery. Updates installed_.
  void ExpectRecovery(int64_t revision, bool keep) {
    // An exchange is never seen half done.
    if (options_.method == Method::kExchange) {
      const Tree found = ReadTree(Target());
      EXPECT_TRUE(found == TargetOf(installed_) || found == TargetOf(revision)) << "the target is neither set";
    }
    {
      auto target = TargetFolder::Open(Target());
      ASSERT_TRUE(target.ok()) << target.status();
      auto installer = Installer::Open(target->get(), options_);
      ASSERT_TRUE(installer.ok()) << installer.status();
      if (installer->pending().has_value()) {
        ASSERT_EQ(WithoutEmptyFolders(ReadTree(Target())), TargetOf(revision));
        ASSERT_TRUE(Finish(&*installer, keep));
      }
      installed_ = installer->view("tasks/t").revision;
    }
    ASSERT_EQ(ReadTree(Target()), TargetOf(installed_));
    // The program has what is installed, whether its hook ran before the kill, after it, or twice.
    if (!plan_.hooks.apply.empty()) ASSERT_EQ(ReadTestFile(folder_ / "running"), TargetOf(installed_).at("a"));
    ASSERT_TRUE(OnlyTheRecordIsLeft()) << "something was left behind";
  }

  TemporaryFolder folder_;
  // Where the target lies.
  std::string root_ = folder_.path();
  Installer::Options options_;
  UpdatePlan plan_;
  int64_t installed_ = 0;
};

class RandomKillTest : public KillTest, public testing::WithParamInterface<How> {
 protected:
  RandomKillTest() : KillTest(GetParam()) {}
  void Kill(int rounds);
};
INSTANTIATE_TEST_SUITE_P(Installer, RandomKillTest,
                         testing::Values(How::kExchange, How::kFiles, How::kFilesWithoutExchange),
                         [](const auto& info) { return NameOf(info.param); });

TEST_P(RandomKillTest, LeavesAWholeSet) { Kill(120); }

TEST_P(RandomKillTest, LeavesAWholeSetOnADisk) {
  std::string name = testing::TempDir() + "/parley.XXXXXX";
  root_ = mkdtemp(name.data());
  WriteTree(Target(), TargetOf(0));
  Kill(30);
  std::filesystem::remove_all(root_);
}

TEST_P(RandomKillTest, LeavesAWholeSetOnALayerOfAnImage) {
  if (GetParam() == How::kExchange) return;  // Not there.
  InNamespace([this] {
    const std::string layers = folder_ / "layers", merged = folder_ / "merged";
    for (const std::string& folder : {layers, merged}) std::filesystem::create_directories(folder);
    ASSERT_EQ(mount("none", layers.c_str(), "tmpfs", 0, nullptr), 0);
    for (const char* folder : {"/lower", "/upper", "/work"}) std::filesystem::create_directories(layers + folder);
    WriteTree(layers + "/lower/target", TargetOf(0));
    MountOverlay(layers, merged);
    root_ = merged;
    Kill(60);
  });
}

void RandomKillTest::Kill(int rounds) {
  std::mt19937 random(20261122);
  absl::Duration longest = absl::Milliseconds(20);
  int killed = 0;
  for (int round = 0; round < rounds; ++round) {
    SCOPED_TRACE(round);
    const int64_t revision = installed_ + 1;
    const bool keep = random() % 3 != 0;
    const absl::Time start = absl::Now();
    const pid_t child = fork();
    if (child == 0) _exit(Process(revision, keep) ? 0 : 1);
    // The kill has to come at a moment that nobody chose; this is not a wait for something to happen.
    usleep(static_cast<useconds_t>(random() % static_cast<uint64_t>(absl::ToInt64Microseconds(longest))));
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status)) ++killed;
    if (WIFEXITED(status)) {
      ASSERT_EQ(WEXITSTATUS(status), 0);
      longest = std::max((longest * 9 + (absl::Now() - start)) / 10, absl::Milliseconds(2));
      if (keep) installed_ = revision;
    }
    ExpectRecovery(revision, keep);
    if (HasFatalFailure()) return;
  }
  EXPECT_GE(killed, rounds / 5);
}

// What is on the disk changes with system calls only, so stopping before and after each of them tries every moment.
class KillAtEachSystemCall : public KillTest, public testing::WithParamInterface<std::tuple<How, bool>> {
 protected:
  KillAtEachSystemCall() : KillTest(std::get<0>(GetParam())) {}
};

TEST_P(KillAtEachSystemCall, LeavesAWholeSet) {
  const bool keep = std::get<1>(GetParam());
  plan_.hooks.apply.clear();  // Traced once, in its own test above; here it would only take time.
  plan_.hooks.check.clear();
  bool finished = false;
  for (int stop_at = 1; !finished; ++stop_at) {
    SCOPED_TRACE(stop_at);
    ASSERT_LT(stop_at, 20000);
    const int64_t revision = installed_ + 1;
    const pid_t child = fork();
    if (child == 0) {
      if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(9);
      raise(SIGSTOP);
      _exit(Process(revision, keep) ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 9) GTEST_SKIP() << "tracing is not allowed here";
    for (int stop = 0; stop < stop_at && WIFSTOPPED(status); ++stop) {
      ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
      ASSERT_EQ(waitpid(child, &status, 0), child);
    }
    finished = WIFEXITED(status);
    if (!finished) {
      kill(child, SIGKILL);
      ASSERT_EQ(waitpid(child, &status, 0), child);
    } else {
      ASSERT_EQ(WEXITSTATUS(status), 0);
      if (keep) installed_ = revision;
    }
    ExpectRecovery(revision, keep);
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Installer, KillAtEachSystemCall,
                         testing::Combine(testing::Values(How::kExchange, How::kFiles, How::kFilesWithoutExchange),
                                          testing::Bool()),
                         [](const auto& info) {
                           return NameOf(std::get<0>(info.param)) +
                                  (std::get<1>(info.param) ? "Committing" : "RollingBack");
                         });

}  // namespace
}  // namespace parley::agent
