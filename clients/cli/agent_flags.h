// The options that `parley join` and `parley agent` have in common.
#ifndef PARLEY_CLIENTS_CLI_AGENT_FLAGS_H_
#define PARLEY_CLIENTS_CLI_AGENT_FLAGS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clients/agent/events.h"
#include "clients/agent/options.h"
#include "clients/cli/chain.h"
#include "clients/cli/command.h"

namespace parley::cli {

struct AgentFlags {
  std::string into, into_file, check, apply, state, check_timeout, apply_timeout, confirm_timeout, method = "auto";
  std::vector<std::string> facts;
  // What --label was given, which is no option any more: the error says what to do.
  std::vector<std::string> labels;
  bool require_operator_signature = false;

  // Adds them to a subcommand; the flags must outlive it.
  void AddTo(CLI::App* command);
  // --into, --into-file and --state alone.
  void AddPlaceTo(CLI::App* command);
  // Usage errors name the option.
  absl::Status Fill(agent::Options* options) const;
  absl::Status FillPlace(agent::Options* options) const;
  // This device's, by whose chain signatures of operators are verified: when it is `enrolled`, or when they are
  // demanded. Empty otherwise.
  absl::StatusOr<DeviceMembership> FindDeviceMembership(const Globals& globals, bool enrolled) const;
};

// What every help says of --check and --apply: where they run, and what they see.
extern const char kCommandsHelp[];

// Prints in the background from then on.
std::unique_ptr<agent::Observer> NewPrinter(const Globals& globals, bool one_task);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_AGENT_FLAGS_H_
