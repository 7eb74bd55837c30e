// Checks what an operator asks of a roll-out, before anything starts.
//
// Threads: pure functions.
#ifndef PARLEY_SERVICES_TASKD_DOMAIN_ROLLOUT_PLAN_H_
#define PARLEY_SERVICES_TASKD_DOMAIN_ROLLOUT_PLAN_H_

#include "absl/status/statusor.h"
#include "parley/task/v1/rollout.pb.h"

namespace parley::taskd {

inline constexpr int kMaxWaves = 20;
inline constexpr int kMaxApprovals = 20;

// Returns the given roll-out, with the defaults for what is unset. `takes_devices` says whether the task selects any,
// as clients with join keys have no labels. Returns INVALID_ARGUMENT: WAVES_MALFORMED, GATE_MALFORMED.
absl::StatusOr<task::v1::Rollout> CompleteRollout(const task::v1::Rollout& rollout, bool takes_devices);

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_DOMAIN_ROLLOUT_PLAN_H_
