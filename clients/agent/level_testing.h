// A client that stays, runs beside the test, and finds what a killed one has left; for tests.
#ifndef PARLEY_CLIENTS_AGENT_LEVEL_TESTING_H_
#define PARLEY_CLIENTS_AGENT_LEVEL_TESTING_H_

#include <sys/stat.h>

#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "clients/agent/installer.h"
#include "clients/agent/session_testing.h"
#include "clients/agent/stop.h"
#include "clients/agent/target_folder.h"

namespace parley::agent {

class LevelTest : public SessionTest {
 protected:
  // Runs a client that stays, beside the test.
  void StartFollowing(JoinOptions options) {
    options.follow = true;
    options.stop = &stop_;
    thread_ =
        std::thread([this, options = std::move(options)]() mutable { outcome_ = Join(std::move(options), &log_); });
  }
  void StartDevice(DeviceOptions options) {
    options.stop = &stop_;
    thread_ =
        std::thread([this, options = std::move(options)]() mutable { status_ = RunDevice(std::move(options), &log_); });
  }
  void StopIt() {
    stop_.Request();
    if (thread_.joinable()) thread_.join();
  }
  ~LevelTest() override { StopIt(); }

  // As far as a process gets before it is killed behind the swap: in place, and undecided.
  void LeaveUndecided(const std::string& task, const Tree& tree) { LeaveUndecided(task, tree, Options().hooks); }
  void LeaveUndecided(const std::string& task, const Tree& tree, const Hooks& hooks) {
    const FakePayload payload = MakePayload(tree);
    auto folder = TargetFolder::Open(Target());
    ASSERT_TRUE(folder.ok()) << folder.status();
    auto installer = Installer::Open(folder->get(), {.clock = &clock_, .boot_clock = &boot_clock_});
    ASSERT_TRUE(installer.ok()) << installer.status();
    const UpdatePlan plan{.task = task, .attempt = 1, .hooks = hooks, .variables = {}};
    ASSERT_EQ(installer->Stage(plan, payload.Manifest(task, 2),
                               [&payload](absl::string_view digest) { return payload.Read(digest); }),
              absl::OkStatus());
    ASSERT_EQ(installer->Swap(), absl::OkStatus());
  }
  // Where the set has a file.
  std::string MakePipeInTheWay() {
    std::filesystem::create_directory(Target() + "/conf.d");
    std::string pipe = Target() + "/conf.d/a";
    EXPECT_EQ(mkfifo(pipe.c_str(), 0644), 0);
    return pipe;
  }
  void PassTimeUntilDecided() {
    while (HasJournal()) {
      boot_clock_.Advance(absl::Minutes(1));
      // So slowly that the owner does not take it for a process that was stopped.
      log_.AwaitNews(absl::Milliseconds(50));
    }
  }
  bool HasJournal() const { return std::filesystem::exists(folder_ / ".parley-target/journal"); }

  Stop stop_;
  std::thread thread_;
  absl::StatusOr<Outcome> outcome_ = absl::UnknownError("");
  absl::Status status_;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_LEVEL_TESTING_H_
