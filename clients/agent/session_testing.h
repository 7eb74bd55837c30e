// A whole agent against a taskd that misbehaves, over the real door; for tests.
#ifndef PARLEY_CLIENTS_AGENT_SESSION_TESTING_H_
#define PARLEY_CLIENTS_AGENT_SESSION_TESTING_H_

#include <algorithm>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "clients/agent/agent.h"
#include "clients/agent/fake_payload.h"
#include "clients/agent/fake_taskd.h"
#include "gtest/gtest.h"
#include "lib/base/error.h"
#include "lib/base/mutex.h"

namespace parley::agent {

using task::v1::Participant;

// Writes down what it is told.
class Notes : public Observer {
 public:
  void Connected(const std::string&, const std::string& protocol) override { Add("connected " + protocol); }
  void Offered(const task::v1::Manifest& manifest, absl::Time, bool) override {
    Add(absl::StrCat("offered ", manifest.revision()));
  }
  void Waiting(const std::string&, const std::string& reason, absl::Time) override { Add("waiting " + reason); }
  void Fetched(const std::string&, int64_t received, int64_t reused) override {
    received_bytes = received;
    reused_bytes = reused;
    Add("fetched");
  }
  void CheckPassed(const std::string&, absl::Duration) override { Add("checked"); }
  void Applied(const std::string&, absl::Duration) override { Add("applied"); }
  void Confirmed(const std::string&, int64_t revision) override { Add(absl::StrCat("confirmed ", revision)); }
  void RollingBack(const std::string&, const std::string& reason, const std::string&) override {
    Add("rolling back " + reason);
  }
  void RolledBack(const std::string&) override { Add("rolled back"); }
  void Declined(const std::string&, const std::string& code, const std::string&) override { Add("declined " + code); }
  void Renewed(absl::Time) override { Add("renewed"); }
  void RenewalFailed(const absl::Status& why, absl::Time) override { Add("renewal failed " + Reason(why)); }
  void Disconnected(const absl::Status& why, absl::Time) override { Add("disconnected " + Reason(why)); }
  void Hindered(const std::string&, const std::string& code, const std::string&, absl::Time) override {
    Add("hindered " + code);
  }
  void Settling(const std::string& task, absl::Time) override { Add("settling " + task); }
  void OperatorVerified(const std::string&, const std::string& user, const std::string&) override {
    Add("signed by " + user);
  }
  void Failed(const std::string&, const absl::Status& why) override { Add("failed " + Reason(why)); }
  void Idle() override { Add("idle"); }

  bool Has(const std::string& note) {
    MutexLock lock(&mutex_);
    return std::find(notes_.begin(), notes_.end(), note) != notes_.end();
  }
  void Await(const std::string& note) {
    MutexLock lock(&mutex_);
    while (std::find(notes_.begin(), notes_.end(), note) == notes_.end()) changed_.Wait(&mutex_);
  }
  int Count(const std::string& note) {
    MutexLock lock(&mutex_);
    return static_cast<int>(std::count(notes_.begin(), notes_.end(), note));
  }
  // Until the next note, or for so long.
  void AwaitNews(absl::Duration most) {
    MutexLock lock(&mutex_);
    changed_.WaitFor(&mutex_, most);
  }
  std::string All() {
    MutexLock lock(&mutex_);
    std::string all;
    for (const std::string& note : notes_) absl::StrAppend(&all, note, "\n");
    return all;
  }

  int64_t received_bytes = 0;
  int64_t reused_bytes = 0;

 private:
  void Add(std::string note) {
    MutexLock lock(&mutex_);
    notes_.push_back(std::move(note));
    changed_.NotifyAll();
  }
  Mutex mutex_;
  CondVar changed_;
  std::vector<std::string> notes_ ABSL_GUARDED_BY(mutex_);
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

  absl::StatusOr<Outcome> RunJoin() { return Join(Options(), &notes_); }

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

  const Tree old_ = {{"keep", "mine"}, {"site.conf", "old"}};
  const Tree new_ = {{"conf.d/a", "new"}, {"site.conf", "new"}};
  const Tree merged_ = {{"conf.d/a", "new"}, {"keep", "mine"}, {"site.conf", "new"}};
  TemporaryFolder folder_;
  FakeClock clock_;
  FakeBootClock boot_clock_;
  FakeTaskd taskd_{&clock_};
  Notes notes_;
  int cut_seen_ = 0;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_SESSION_TESTING_H_
