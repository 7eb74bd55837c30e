// The options that `parley join`, `parley agent` and `parley settle` have in common.
//
// Threads: a value as any other.
#ifndef PARLEY_CLIENTS_CLI_AGENT_FLAGS_H_
#define PARLEY_CLIENTS_CLI_AGENT_FLAGS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clients/agent/options.h"
#include "clients/cli/command.h"
#include "clients/operator/membership.h"

namespace parley::cli {

struct AgentFlags {
  std::string into, into_file, check, apply, state, check_timeout, apply_timeout, confirm_timeout, method = "auto";
  std::vector<std::string> facts;
  // The values of --label, which is no option any more: the error of Fill says what to do instead.
  std::vector<std::string> labels;
  bool require_operator_signature = false;

  // Adds all options to a command. The flags must outlive it.
  void AddTo(Command command);
  // Adds --into, --into-file and --state alone.
  void AddPlaceTo(Command command);
  // Puts all options, or those of AddPlaceTo, where the agent finds them. Returns usage errors, which name the option.
  absl::Status Fill(agent::Options* options) const;
  absl::Status FillPlace(agent::Options* options) const;
  // Returns the membership of this device, by whose chain the signatures of operators are verified; an empty one unless
  // the device is `enrolled` or such signatures are demanded. Returns the errors of OpenDevice and CheckUnlockOptions
  // (unlock.h) and of ops::FollowDeviceMembership.
  absl::StatusOr<ops::DeviceMembership> FindDeviceMembership(const Globals& globals, bool enrolled) const;
};

// The paragraph about --check, --apply and --method that ends the help of each command that takes them.
extern const char kCommandsHelp[];

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_AGENT_FLAGS_H_
