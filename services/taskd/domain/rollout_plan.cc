#include "services/taskd/domain/rollout_plan.h"

#include <algorithm>
#include <set>
#include <string>

#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/keys/labels.h"
#include "services/taskd/domain/names.h"

namespace parley::taskd {
namespace {

using task::v1::Gate;
using task::v1::Rollout;
using task::v1::Wave;

constexpr int kMaxNames = 1000;
constexpr absl::Duration kMaxSoak = absl::Hours(24 * 30);

// What the waves before have asked for.
struct Before {
  int count = 0;
  int percent = 0;
  std::set<std::string> names;
};

template <typename... Parts>
absl::Status Malformed(const Parts&... parts) {
  return InvalidArgument("WAVES_MALFORMED", parts...);
}

absl::Status CheckLarger(int value, int* before, absl::string_view what) {
  if (value < 1) return Malformed("a wave's ", what, " must be at least 1");
  if (value <= *before) {
    return Malformed("a wave of ", value, " after one of ", *before, " would add nobody, because each wave holds the ",
                     "clients of those before it; give growing numbers");
  }
  *before = value;
  return absl::OkStatus();
}

absl::Status CheckNames(const task::v1::WaveNames& wave, std::set<std::string>* before) {
  if (wave.names().empty() || wave.names_size() > kMaxNames) return Malformed("a wave of names needs 1 to 1000 names");
  for (const std::string& name : wave.names()) {
    if (!IsClientId(name)) {
      return Malformed("a wave names a client \"", name.substr(0, 64), "\"; a client's name has 1 to 64 characters of ",
                       "a-z, 0-9, '.', '_' and '-', a letter or digit first");
    }
    if (!before->insert(name).second) return Malformed("the waves name the client ", name, " twice");
  }
  return absl::OkStatus();
}

absl::Status CheckWave(const Wave& wave, bool takes_devices, Before* before) {
  switch (wave.clients_case()) {
    case Wave::kCount:
      return CheckLarger(wave.count(), &before->count, "number");
    case Wave::kPercent:
      if (wave.percent() > 100) return Malformed("a wave's share is at most 100 percent");
      return CheckLarger(wave.percent(), &before->percent, "share");
    case Wave::kLabels: {
      if (!takes_devices) {
        return Malformed("a wave by labels is for devices, and the task selects none; give a selector, or other waves");
      }
      if (wave.labels().labels().empty()) return Malformed("a wave by labels needs a label");
      const keys::Labels labels(wave.labels().labels().begin(), wave.labels().labels().end());
      return keys::CheckLabels(labels);
    }
    case Wave::kNames:
      return CheckNames(wave.names(), &before->names);
    case Wave::CLIENTS_NOT_SET:
      return Malformed("a wave says nothing of who is in it");
  }
  return absl::OkStatus();
}

absl::Status CheckWaves(const Rollout& rollout, bool takes_devices) {
  if (rollout.waves().empty() || rollout.waves_size() > kMaxWaves) return Malformed("a roll-out has 1 to 20 waves");
  const auto& waves = rollout.waves();
  const auto all = std::find_if(waves.begin(), waves.end(), [](const Wave& wave) { return wave.percent() == 100; });
  if (all == waves.end()) {
    return Malformed(
        "the last wave must be all clients, or some would never be offered the revision; add a wave of 100 ",
        "percent (\"all\")");
  }
  if (all + 1 != waves.end()) return Malformed("a wave after that of all clients would add nobody");
  Before before;
  for (const Wave& wave : waves) RETURN_IF_ERROR(CheckWave(wave, takes_devices, &before));
  return absl::OkStatus();
}

absl::Status CompleteGate(Gate* gate) {
  const auto malformed = [](absl::string_view sentence) { return InvalidArgument("GATE_MALFORMED", sentence); };
  if (gate->min_success_percent() < 0 || gate->min_success_percent() > 100) {
    return malformed("the gate's share of success must be from 1 to 100 percent");
  }
  if (gate->max_failures() < 0 || gate->max_failure_percent() < 0 || gate->max_failure_percent() > 100) {
    return malformed("the gate's max_failures can not be below 0, and max_failure_percent is from 0 to 100");
  }
  const absl::Duration soak = ToDuration(gate->soak());
  if (soak < absl::ZeroDuration() || soak > kMaxSoak) return malformed("the time to soak is at most 30 days");
  if (gate->approvals() < 0 || gate->approvals() > kMaxApprovals) {
    return malformed("a gate asks for at most 20 approvals");
  }
  if (gate->author_may_approve() && gate->approvals() == 0) {
    return malformed("author_may_approve says nothing without approvals; ask for at least 1");
  }
  if (gate->min_success_percent() == 0) gate->set_min_success_percent(100);
  if (!gate->has_max_failures() && !gate->has_max_failure_percent()) gate->set_max_failures(0);
  if (soak == absl::ZeroDuration()) gate->clear_soak();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Rollout> CompleteRollout(const Rollout& rollout, bool takes_devices) {
  RETURN_IF_ERROR(CheckWaves(rollout, takes_devices));
  Rollout complete = rollout;
  RETURN_IF_ERROR(CompleteGate(complete.mutable_gate()));
  if (complete.on_failure() == Rollout::ON_FAILURE_UNSPECIFIED) complete.set_on_failure(Rollout::ON_FAILURE_HALT);
  if (!Rollout::OnFailure_IsValid(complete.on_failure())) {
    return InvalidArgument("GATE_MALFORMED", "on_failure is none of ON_FAILURE_HALT and ON_FAILURE_PAUSE");
  }
  return complete;
}

}  // namespace parley::taskd
