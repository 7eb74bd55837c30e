// How the waves and the gate of a roll-out are written on a command line, and shown.
//
// Threads: pure functions.
#ifndef PARLEY_CLIENTS_CLI_ROLLOUT_TEXT_H_
#define PARLEY_CLIENTS_CLI_ROLLOUT_TEXT_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "parley/task/v1/rollout.pb.h"

namespace parley::cli {

// What the options of the commands that create and publish hold.
struct RolloutFlags {
  std::string waves, success, failures, soak, on_failure = "halt";
  bool approve = false;
  int approve_by = 0;
};

// Returns the roll-out that is asked for, or none. Returns a usage error that names the option.
absl::StatusOr<std::optional<task::v1::Rollout>> ParseRollout(const RolloutFlags& flags);

// Parses "5", "10%", "canary=true+site=berlin", "@web-1+web-2" or "all". Returns a usage error.
absl::StatusOr<task::v1::Wave> ParseWave(absl::string_view text);
// Returns the same text for the wave.
std::string WaveText(const task::v1::Wave& wave);
// Returns "1, 10%, all".
std::string WavesText(const task::v1::Rollout& rollout);
// Returns what must hold: "95 % have it, at most 2 failures, for 10 min, 2 approvals of others".
std::string GateText(const task::v1::Gate& gate);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_ROLLOUT_TEXT_H_
