// A whole agent against a taskd that misbehaves, over the real door; for tests.
#ifndef PARLEY_CLIENTS_AGENT_SESSION_TESTING_H_
#define PARLEY_CLIENTS_AGENT_SESSION_TESTING_H_

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "clients/agent/agent.h"
#include "clients/agent/cancellation.h"
#include "clients/agent/fake_payload.h"
#include "clients/agent/fake_taskd.h"
#include "clients/agent/installer.h"
#include "clients/agent/target_folder.h"
#include "gtest/gtest.h"
#include "lib/base/error.h"
#include "lib/base/mutex.h"

namespace parley::agent {

using task::v1::Participant;

// Records the events that tests ask for, each as a line.
class EventLog : public Observer {
 public:
  void OnEvent(const Event& event) override {
    const std::string line = std::visit([](const auto& e) { return TextOf(e); }, event);
    MutexLock lock(&mutex_);
    if (const auto* e = std::get_if<event::Fetched>(&event)) fetched = *e;
    if (const auto* e = std::get_if<event::RollbackFailed>(&event)) rollback_failures.push_back(e->detail);
    if (const auto* e = std::get_if<event::UpToDate>(&event)) up_to_date = e->revision;
    if (const auto* e = std::get_if<event::RolledBack>(&event)) nothing_before = e->nothing_before;
    if (line.empty()) return;
    lines_.push_back(line);
    changed_.NotifyAll();
  }

  bool Has(const std::string& line) {
    MutexLock lock(&mutex_);
    return std::find(lines_.begin(), lines_.end(), line) != lines_.end();
  }
  void Await(const std::string& line) {
    MutexLock lock(&mutex_);
    while (std::find(lines_.begin(), lines_.end(), line) == lines_.end()) changed_.Wait(&mutex_);
  }
  int Count(const std::string& line) {
    MutexLock lock(&mutex_);
    return static_cast<int>(std::count(lines_.begin(), lines_.end(), line));
  }
  // Waits for the next line, at most for so long.
  void AwaitNews(absl::Duration most) {
    MutexLock lock(&mutex_);
    changed_.WaitFor(&mutex_, most);
  }
  std::string All() {
    MutexLock lock(&mutex_);
    std::string all;
    for (const std::string& line : lines_) absl::StrAppend(&all, line, "\n");
    return all;
  }

  event::Fetched fetched;
  std::vector<std::string> rollback_failures;
  int64_t up_to_date = 0;
  // What the last rollback said.
  bool nothing_before = false;

 private:
  static std::string TextOf(const event::Connected& e) { return "connected " + e.protocol; }
  static std::string TextOf(const event::Disconnected& e) { return "disconnected " + Reason(e.why); }
  static std::string TextOf(const event::Idle&) { return "idle"; }
  static std::string TextOf(const event::Waiting& e) { return "waiting " + e.reason; }
  static std::string TextOf(const event::Hindered& e) { return "hindered " + e.code; }
  static std::string TextOf(const event::Undecided& e) { return "undecided " + e.task; }
  static std::string TextOf(const event::OperatorVerified& e) { return "signed by " + e.user; }
  static std::string TextOf(const event::Offered& e) { return absl::StrCat("offered ", e.revision); }
  static std::string TextOf(const event::Fetched&) { return "fetched"; }
  static std::string TextOf(const event::CheckPassed&) { return "checked"; }
  static std::string TextOf(const event::Applied&) { return "applied"; }
  static std::string TextOf(const event::Confirmed& e) { return absl::StrCat("confirmed ", e.revision); }
  static std::string TextOf(const event::RollingBack& e) { return "rolling back " + e.reason; }
  static std::string TextOf(const event::RolledBack&) { return "rolled back"; }
  static std::string TextOf(const event::Declined& e) { return "declined " + e.code; }
  static std::string TextOf(const event::Renewed&) { return "renewed"; }
  static std::string TextOf(const event::RenewalFailed& e) { return "renewal failed " + Reason(e.why); }
  static std::string TextOf(const event::Failed& e) { return "failed " + Reason(e.why); }
  template <typename Other>
  static std::string TextOf(const Other&) {
    return "";
  }

  Mutex mutex_;
  CondVar changed_;
  std::vector<std::string> lines_ ABSL_GUARDED_BY(mutex_);
};

class SessionTest : public testing::Test {
 protected:
  SessionTest() { WriteTree(Target(), old_); }

  std::string Target() const { return folder_ / "target"; }
  std::string Running() const { return folder_ / "running"; }
  Tree Installed() const { return ReadTree(Target()); }

  JoinOptions Options() {
    JoinOptions options;
    options.key = taskd_.JoinKey();
    options.client_name = "web-1";
    options.state_dir = folder_ / "state";
    options.into = Target();
    options.hooks.check = "test ! -e $PARLEY_TARGET/bad || { echo line 14 is wrong; false; }";
    options.hooks.apply = absl::StrCat("cp $PARLEY_TARGET/site.conf ", Running());
    options.min_backoff = absl::Milliseconds(1);
    options.max_backoff = absl::Milliseconds(20);
    options.min_recheck = absl::Milliseconds(1);
    options.max_recheck = absl::Milliseconds(20);
    options.clock = &clock_;
    options.boot_clock = &boot_clock_;
    return options;
  }

  DeviceOptions Device() {
    DeviceOptions options;
    static_cast<agent::Options&>(options) = Options();
    options.credential = taskd_.Device();
    return options;
  }

  absl::StatusOr<Outcome> RunJoin() { return Join(Options(), &log_); }
  // Joins, and expects that the client's part comes to an end, whichever.
  Outcome RunToEnd(JoinOptions options) {
    const absl::StatusOr<Outcome> outcome = Join(std::move(options), &log_);
    EXPECT_EQ(outcome.status(), absl::OkStatus()) << log_.All();
    return outcome.value_or(Outcome());
  }
  Outcome RunToEnd() { return RunToEnd(Options()); }

  // Runs a client that stays, beside the test.
  void StartFollowing(JoinOptions options) {
    options.follow = true;
    StartJoin(std::move(options));
  }
  void StartJoin(JoinOptions options) {
    options.cancellation = &cancellation_;
    thread_ =
        std::thread([this, options = std::move(options)]() mutable { outcome_ = Join(std::move(options), &log_); });
  }
  void StartDevice(DeviceOptions options) {
    options.cancellation = &cancellation_;
    thread_ =
        std::thread([this, options = std::move(options)]() mutable { status_ = RunDevice(std::move(options), &log_); });
  }
  void StopIt() {
    cancellation_.Cancel();
    if (thread_.joinable()) thread_.join();
  }
  void TearDown() override { StopIt(); }

  // Leaves what a process leaves that is killed behind the swap: the set is in place, and undecided.
  void LeaveUndecided(const std::string& task, const Tree& tree) { LeaveUndecided(task, tree, Options().hooks); }
  void LeaveUndecided(const std::string& task, const Tree& tree, const Hooks& hooks, int64_t revision = 2) {
    const FakePayload payload = MakePayload(tree);
    auto folder = TargetFolder::Open(Target());
    ASSERT_TRUE(folder.ok()) << folder.status();
    auto installer = Installer::Open(folder->get(), {.clock = &clock_, .boot_clock = &boot_clock_});
    ASSERT_TRUE(installer.ok()) << installer.status();
    ASSERT_EQ(installer->ForgetRollback(task), absl::OkStatus());
    const UpdatePlan plan{
        .task = task, .attempt = 1, .hooks = hooks, .variables = {}, .state_folder = folder_ / ("state/" + task)};
    ASSERT_EQ(installer->Stage(plan, payload.Manifest(task, revision),
                               [&payload](absl::string_view digest) { return payload.Read(digest); }),
              absl::OkStatus());
    ASSERT_EQ(installer->Swap(), absl::OkStatus());
  }
  // Makes a pipe where the set has a file, and returns its path.
  std::string MakePipeInTheWay() {
    std::filesystem::create_directory(Target() + "/conf.d");
    std::string pipe = Target() + "/conf.d/a";
    EXPECT_EQ(mkfifo(pipe.c_str(), 0644), 0);
    return pipe;
  }
  void PassTimeUntilDecided() {
    while (std::filesystem::exists(folder_ / ".parley-target/journal")) {
      boot_clock_.Advance(absl::Minutes(1));
      // So slowly that the owner does not take it for a process that was stopped.
      log_.AwaitNews(absl::Milliseconds(50));
    }
  }

  // Nothing was applied, and no trace of the attempt is beside the target.
  void ExpectNothingApplied() {
    EXPECT_EQ(Installed(), old_);
    EXPECT_FALSE(std::filesystem::exists(Running()));
    EXPECT_FALSE(std::filesystem::exists(folder_ / ".parley-target"));
  }

  // Offers what the change makes of the manifest, and expects it to be refused for this reason.
  void ExpectManifestRefused(std::function<void(task::v1::SignedManifest*)> change, const std::string& reason) {
    taskd_.Publish(new_);
    taskd_.faults.manifest = std::move(change);
    const auto outcome = RunJoin();
    EXPECT_EQ(Reason(outcome.status()), reason) << outcome.status();
    EXPECT_EQ(taskd_.state(), Participant::STATE_DECLINED);
    EXPECT_EQ(taskd_.reason(), "other");
    EXPECT_EQ(taskd_.detail(), outcome.status().message());
    EXPECT_EQ(taskd_.fetches().size(), 0u);
    ExpectNothingApplied();
  }

  // Offers a file whose one frame becomes another on its way, and expects the set to be refused for this reason.
  void ExpectChunkRefused(std::function<std::string(std::string frame)> change, const std::string& reason) {
    taskd_.Publish({{"site.conf", std::string(5000, 'x')}});
    taskd_.faults.frame = std::move(change);
    const auto outcome = RunJoin();
    EXPECT_EQ(Reason(outcome.status()), reason) << outcome.status();
    EXPECT_EQ(taskd_.state(), Participant::STATE_ROLLED_BACK);
    EXPECT_EQ(taskd_.reason(), absl::AsciiStrToLower(reason));
    ExpectNothingApplied();
  }

  const Tree old_ = {{"keep", "mine"}, {"site.conf", "old"}};
  const Tree new_ = {{"conf.d/a", "new"}, {"site.conf", "new"}};
  const Tree merged_ = {{"conf.d/a", "new"}, {"keep", "mine"}, {"site.conf", "new"}};
  TemporaryFolder folder_;
  FakeClock clock_;
  FakeBootClock boot_clock_;
  FakeTaskd taskd_{&clock_};
  EventLog log_;
  int cut_seen_ = 0;
  Cancellation cancellation_;
  std::thread thread_;
  absl::StatusOr<Outcome> outcome_ = absl::UnknownError("");
  absl::Status status_;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_SESSION_TESTING_H_
