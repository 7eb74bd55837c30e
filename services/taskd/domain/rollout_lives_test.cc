// Random roll-outs of the pure rules, thousands of them.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "services/taskd/domain/participant_testing.h"
#include "services/taskd/domain/rollout.h"
#include "services/taskd/domain/rollout_plan.h"
#include "services/taskd/domain/task.h"

namespace parley::taskd {
namespace {

using task::v1::Rollout;
using task::v1::Wave;

// A client of a random roll-out.
struct Machine {
  std::string name;
  ParticipantRecord record;
  Counted counted;
  bool offered = false;
};

// One roll-out of random waves, gate and clients that come, go, succeed and fail. What must hold at every step is
// checked by means other than the rules' own.
class RandomRollout {
 public:
  explicit RandomRollout(uint32_t seed) : random_(seed) {
    Rollout rollout;
    int count = 0, percent = 0;
    for (int i = Draw(3); i >= 0; --i) {
      if (Draw(1) == 0 && count < 10) rollout.add_waves()->set_count(count += 1 + Draw(5));
      if (Draw(1) == 0 && percent < 80) rollout.add_waves()->set_percent(percent += 1 + Draw(15));
    }
    rollout.add_waves()->set_percent(100);
    limit_ = Draw(2);
    success_ = 50 + Draw(50);
    rollout.mutable_gate()->set_max_failures(limit_);
    rollout.mutable_gate()->set_min_success_percent(success_);
    task_ = MakeTask();
    *task_.mutable_task()->mutable_rollout() = *CompleteRollout(rollout, /*takes_devices=*/false);
    BeginRollout("sam", &task_);
  }

  void Run() {
    for (int step = 0; step < 60 && !::testing::Test::HasFailure(); ++step) {
      Step();
      Decide();
    }
  }

 private:
  int Draw(int most) { return static_cast<int>(random_() % static_cast<uint32_t>(most + 1)); }
  bool IsOpen() const { return task_.task().state() == Task::STATE_OPEN; }
  int WaveOfMachine(const Machine& machine) const {
    return WaveOf(FindInWaves(ToWaveClient(machine.record, nullptr), task_),
                  PlaceInOrder(task_.task().name(), machine.name), task_);
  }

  void Step() {
    const int what = Draw(9);
    if (what < 4 || machines_.empty()) {
      Machine& machine = machines_.emplace_back();
      machine.name = absl::StrCat("web-", machines_.size());
      machine.record = NewParticipant(machine.name, task_, kNow);
      machine.counted = {.state = Participant::STATE_JOINED, .place = Participant::STATE_JOINED, .revision = 1};
      return;
    }
    Machine& machine = machines_[static_cast<size_t>(Draw(static_cast<int>(machines_.size()) - 1))];
    if (what == 4) machine.counted.revoked = true;
    if (what > 5 && machine.offered && machine.counted.state == Participant::STATE_OFFERED) {
      machine.counted.state = Draw(9) == 0 ? Participant::STATE_ROLLED_BACK : Participant::STATE_CONFIRMED;
      machine.counted.place = machine.counted.state;
    }
  }

  RolloutTally Tally() const {
    RolloutTally tally;
    for (const Machine& machine : machines_) {
      CountInRollout(machine.counted, WaveOfMachine(machine), 0, 1, 1, &tally);
    }
    return tally;
  }

  // What taskd does: judges, draws, offers.
  void Decide() {
    for (auto due = taskd::Due(task_, {.rollout = Tally()}, kNow); due.has_value();
         due = taskd::Due(task_, {.rollout = Tally()}, kNow)) {
      task_ = *due;
    }
    if (task_.rollout().drawing() && IsOpen()) Open();
    if (!IsOpen()) return;
    for (Machine& machine : machines_) {
      if (machine.offered || machine.counted.revoked || WaveOfMachine(machine) == 0) continue;
      machine.offered = true;
      machine.counted.state = machine.counted.place = Participant::STATE_OFFERED;
    }
  }

  void Open() {
    CheckGate();
    std::vector<Candidate> candidates;
    std::set<std::string> before;
    for (const Machine& machine : machines_) {
      if (WaveOfMachine(machine) > 0) before.insert(machine.name);
      if (!IsCandidate(machine.counted, 1)) continue;
      candidates.push_back(
          {PlaceInOrder(task_.task().name(), machine.name), FindInWaves(ToWaveClient(machine.record, nullptr), task_)});
    }
    const Wave& wave = task_.task().rollout().waves(task_.rollout().open_waves_size());
    const size_t most = wave.percent() == 100 ? machines_.size()
                        : wave.has_count()    ? static_cast<size_t>(wave.count())
                                              : (candidates.size() * static_cast<size_t>(wave.percent()) + 99) / 100;
    OpenNextWave(std::move(candidates), kNow, &task_);
    size_t inside = 0;
    for (const Machine& machine : machines_) {
      const bool in = WaveOfMachine(machine) > 0;
      EXPECT_TRUE(in || before.count(machine.name) == 0) << machine.name << " has fallen out of a wave";
      if (in && IsCandidate(machine.counted, 1)) ++inside;
    }
    EXPECT_LE(inside, std::max(most, before.size()));
  }

  // No gate opens that should not, counted by what the machines are and what they were offered.
  void CheckGate() const {
    if (task_.rollout().open_waves_size() == 0) return;
    int all = 0, succeeded = 0, failed = 0;
    for (const Machine& machine : machines_) {
      if (!machine.offered || machine.counted.revoked) continue;
      ++all;
      succeeded += machine.counted.state == Participant::STATE_CONFIRMED ? 1 : 0;
      failed += machine.counted.state == Participant::STATE_ROLLED_BACK ? 1 : 0;
    }
    EXPECT_LE(failed, limit_);
    EXPECT_GT(all, 0);
    EXPECT_GE(100 * succeeded, success_ * all);
  }

  std::mt19937 random_;
  int limit_ = 0;
  int success_ = 0;
  TaskRecord task_;
  std::vector<Machine> machines_;
};

TEST(Rollout, KeepsItsPromisesInRandomLives) {
  for (uint32_t seed = 1; seed <= 10'000 && !HasFailure(); ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    RandomRollout(seed).Run();
  }
}

}  // namespace
}  // namespace parley::taskd
