// parley join.
#include <stdlib.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "clients/agent/agent.h"
#include "clients/cli/agent_flags.h"
#include "clients/cli/agent_output.h"
#include "clients/cli/agent_printer.h"
#include "clients/cli/command.h"
#include "clients/cli/format.h"
#include "clients/cli/output.h"
#include "clients/cli/pasting.h"
#include "clients/cli/paths.h"
#include "clients/cli/task_name.h"
#include "clients/cli/terminal.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/transport/quiet_grpc.h"
#include "lib/transport/relay_in_callers.h"

namespace parley::cli {
namespace {

using task::v1::Participant;

struct JoinFlags {
  AgentFlags agent;
  std::string key_file, name, task, defer_until, reason, decline, wait;
  std::vector<std::string> windows;
  bool follow = false;
};

// The key from where it was given; nothing when this goes on with a task that was joined before.
absl::StatusOr<std::optional<Secret>> FindKey(const JoinFlags& flags) {
  if (!flags.key_file.empty()) return ReadSecretFile(flags.key_file, keys::kMaxPastingBytes);
  if (std::string value = Environment("PARLEY_JOIN_KEY"); !value.empty()) {
    // The hooks are children of this process and need not know it.
    unsetenv("PARLEY_JOIN_KEY");
    return Secret::Take(std::move(value));
  }
  if (!flags.task.empty()) return std::nullopt;
  ASSIGN_OR_RETURN(Secret key, ReadPastedSecret("  Join key (it is not shown): ", &keys::JudgePastedJoinKey));
  if (key.empty()) {
    return UsageError(
        "no join key was given; paste it at a terminal, or give it by standard input, PARLEY_JOIN_KEY or --key-file; "
        "to go on with a task that was joined before, name it with --task");
  }
  return key;
}

absl::Status FillPolicy(const JoinFlags& flags, agent::Policy* policy) {
  const absl::Time now = absl::Now();
  if (!flags.defer_until.empty()) {
    ASSIGN_OR_RETURN(const absl::Time until, ParseTime("--defer-until", flags.defer_until, now));
    // Whole seconds, as they travel: an offer that comes back at that time must not be too early here.
    policy->defer_until = absl::FromUnixSeconds(absl::ToUnixSeconds(until));
    policy->defer_reason = flags.reason;
  }
  if (!flags.decline.empty()) policy->decline = flags.decline;
  for (const std::string& text : flags.windows) {
    const size_t slash = text.find('/');
    if (slash == std::string::npos) {
      return UsageError("--window \"", text.substr(0, 60),
                        "\" is not a time; write START/END, e.g. 2026-11-22T23:00:00Z/2026-11-23T04:00:00Z");
    }
    agent::Window window;
    ASSIGN_OR_RETURN(window.start, ParseTime("--window", text.substr(0, slash), now));
    ASSIGN_OR_RETURN(window.end, ParseTime("--window", text.substr(slash + 1), now));
    policy->windows.push_back(window);
  }
  return absl::OkStatus();
}

ExitCode CodeOf(const agent::Outcome& outcome) {
  if (outcome.ok()) return kSuccess;
  if (outcome.state == Participant::STATE_ROLLED_BACK) return kRolledBack;
  if (outcome.state == Participant::STATE_DECLINED || outcome.state == Participant::STATE_DEFERRED) return kRefused;
  return kFailure;
}

absl::StatusOr<agent::JoinOptions> OptionsOf(const Globals& globals, const JoinFlags& flags) {
  agent::JoinOptions options;
  RETURN_IF_ERROR(flags.agent.Fill(&options));
  RETURN_IF_ERROR(FillPolicy(flags, &options.policy));
  if (!flags.wait.empty()) {
    ASSIGN_OR_RETURN(options.hindrance_timeout, ParseDuration("--wait", flags.wait));
  }
  options.server = globals.server;
  options.client_name = flags.name;
  options.task = flags.task;
  options.follow = flags.follow;
  ASSIGN_OR_RETURN(const std::optional<Secret> pasted, FindKey(flags));
  if (!pasted.has_value()) return options;
  ASSIGN_OR_RETURN(options.key, keys::ParseJoinKey(*pasted, absl::Now()));
  if (flags.task.empty() || TaskId(flags.task) == options.key->task) return options;
  return UsageError("the join key is for ", options.key->task, ", and --task names ",
                    Printable(flags.task.substr(0, 60)), "; leave --task out");
}

absl::StatusOr<ExitCode> Join(const Globals& globals, const JoinFlags& flags) {
  transport::UseGrpcQuietly();
  transport::RelayInCallers();
  ASSIGN_OR_RETURN(agent::JoinOptions options, OptionsOf(globals, flags));
  // Not by a device file that only happens to be there: a join key is enough to join.
  const bool by_device = !globals.device_path.empty() || !Environment("PARLEY_DEVICE").empty();
  ASSIGN_OR_RETURN(ops::DeviceMembership membership, flags.agent.FindDeviceMembership(globals, by_device));
  options.chain = std::move(membership.chain);
  CancelOnSignal signals(flags.follow ? OnHangup::kIgnore : OnHangup::kStop);
  options.cancellation = signals.cancellation();
  const std::unique_ptr<agent::Observer> printer = NewPrinter(globals, /*one_task=*/true);
  ASSIGN_OR_RETURN(const agent::Outcome outcome, agent::Join(std::move(options), printer.get()));
  if (globals.json()) {
    JsonEvent("outcome")
        .Text("task", outcome.task)
        .Text("state", Participant::State_Name(outcome.state))
        .Number("revision", outcome.revision)
        .Text("reason", outcome.reason)
        .Text("detail", outcome.detail)
        .Print();
  }
  return CodeOf(outcome);
}

}  // namespace

void AddJoin(Command app, Globals* globals) {
  auto flags = std::make_shared<JoinFlags>();
  Command command =
      AddCommand(app, globals, "join", "Take part in a task with a join key: fetch, check, apply, confirm",
                 kMemberOptions, flags, &Join);
  flags->agent.AddTo(command);
  const Option key_file = command.AddOption("--key-file", flags->key_file, "File of mode 0600 with the join key");
  command.AddOption("--name", flags->name, "Name of this client in the task (the host's name)");
  command.AddOption("--task", flags->task, "Go on with this task, joined before, without a key").Excludes(key_file);
  const Option follow = command.AddFlag("--follow", flags->follow, "Stay for later revisions until the task ends");
  command.AddOption("--wait", flags->wait, "How long to wait for a full disk, a wrong clock, a busy target (2m)")
      .Excludes(follow);
  const Option defer = command.AddOption("--defer-until", flags->defer_until,
                                         "Put the offer off until then: 2026-11-22T23:10:00Z, or 2h");
  command.AddOption("--reason", flags->reason, "Why it is put off, for the operator").Needs(defer);
  const Option window = command.AddOption("--window", flags->windows, "Apply only within START/END (repeatable)");
  window.OneValueEach();
  command.AddOption("--decline", flags->decline, "Refuse the offer, with this reason for the operator")
      .Excludes(defer)
      .Excludes(window);
  command.Footer(absl::StrCat(
      "The join key is asked for, or read from standard input, PARLEY_JOIN_KEY or --key-file; never from\n"
      "the command line, which everybody on the machine can see. It may come folded over lines and quoted.\n"
      "--server is the address of the server, in place of the one in the key; it is remembered.\n"
      "Examples:\n"
      "  parley join --into /etc/nginx --check 'nginx -t' --apply 'systemctl reload nginx'\n"
      "  parley join --into /srv/site --key-file site-7k3q.join --follow\n"
      "The new set replaces the old one as a whole. When the check or the apply fails, or the server can\n"
      "not be reached to confirm, the old set comes back by itself.\n",
      kCommandsHelp, "Exit codes: 0 installed, 1 failed, 2 wrong command line, 3 rolled back, 4 declined."));
}

}  // namespace parley::cli
