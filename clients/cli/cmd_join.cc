// parley join.
#include <stdlib.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "clients/agent/agent.h"
#include "clients/cli/agent_flags.h"
#include "clients/cli/command.h"
#include "clients/cli/format.h"
#include "clients/cli/output.h"
#include "clients/cli/paths.h"
#include "clients/cli/terminal.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/transport/quiet_grpc.h"

namespace parley::cli {
namespace {

using task::v1::Participant;

constexpr size_t kMaxKeyBytes = 4096;

struct JoinFlags {
  AgentFlags agent;
  std::string key_file, name, task, defer_until, reason, decline;
  std::vector<std::string> windows;
  bool follow = false;
};

// The key from where it was given; nothing when this goes on with a task that was joined before.
absl::StatusOr<std::optional<Secret>> FindKey(const JoinFlags& flags) {
  if (!flags.key_file.empty()) return ReadSecretFile(flags.key_file, kMaxKeyBytes);
  if (std::string value = Environment("PARLEY_JOIN_KEY"); !value.empty()) {
    // The hooks are children of this process and need not know it.
    unsetenv("PARLEY_JOIN_KEY");
    return Secret::Take(std::move(value));
  }
  if (!flags.task.empty()) return std::nullopt;
  if (StdinIsTerminal()) return AskHidden("  Join key (it is not shown): ");
  ASSIGN_OR_RETURN(Secret key, ReadSecretLine(kMaxKeyBytes));
  if (key.empty()) {
    return UsageError(
        "no join key was given; paste it at a terminal, or give it by standard input, PARLEY_JOIN_KEY or --key-file; "
        "to "
        "go on with a task that was joined before, name it with --task");
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
      return UsageError(
          absl::StrCat("--window \"", text.substr(0, 60),
                       "\" is not a time; write START/END, e.g. 2026-11-22T23:00:00Z/2026-11-23T04:00:00Z"));
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

absl::StatusOr<ExitCode> Join(const Globals& globals, const JoinFlags& flags) {
  transport::UseGrpcQuietly();
  agent::JoinOptions options;
  RETURN_IF_ERROR(flags.agent.Fill(&options));
  RETURN_IF_ERROR(FillPolicy(flags, &options.policy));
  options.client_name = flags.name;
  options.task = flags.task;
  options.follow = flags.follow;
  ASSIGN_OR_RETURN(const std::optional<Secret> pasted, FindKey(flags));
  if (pasted.has_value()) {
    ASSIGN_OR_RETURN(options.key, keys::ParseJoinKey(*pasted, absl::Now()));
  }
  // Not by a device file that only happens to be there: a join key is enough to join.
  const bool by_device = !globals.device_path.empty() || !Environment("PARLEY_DEVICE").empty();
  ASSIGN_OR_RETURN(Membership membership, flags.agent.FindMembership(globals, by_device));
  options.chain = std::move(membership.chain);
  StopOnSignal signals;
  options.stop = signals.stop();
  const std::unique_ptr<agent::Observer> printer = NewPrinter(globals, /*one_task=*/true);
  ASSIGN_OR_RETURN(const agent::Outcome outcome, agent::Join(std::move(options), printer.get()));
  if (globals.json()) {
    JsonObject()
        .Text("event", "outcome")
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

void AddJoin(CLI::App* app, Globals* globals) {
  auto flags = std::make_shared<JoinFlags>();
  CLI::App* command = app->add_subcommand("join", "Take part in a task with a join key: fetch, check, apply, confirm");
  command->fallthrough();
  flags->agent.AddTo(command);
  command->add_option("--key-file", flags->key_file, "File of mode 0600 with the join key");
  command->add_option("--name", flags->name, "Name of this client in the task (the host's)");
  command->add_option("--task", flags->task, "Go on with this task, joined before, without a key");
  command->add_flag("--follow", flags->follow, "Stay for later revisions until the task ends");
  CLI::Option* defer =
      command->add_option("--defer-until", flags->defer_until, "Put it off: 2026-11-22T23:10:00Z, or 2h");
  command->add_option("--reason", flags->reason, "Why it is put off, for the operator")->needs(defer);
  command->add_option("--window", flags->windows, "Apply only within START/END (repeat)");
  command->add_option("--decline", flags->decline, "Refuse the offer, with this reason for the operator")
      ->excludes(defer);
  command->footer(
      "The join key is asked for, or read from standard input, PARLEY_JOIN_KEY or --key-file; never from\n"
      "the command line, which everybody on the machine can see.\n"
      "Examples:\n"
      "  parley join --into /etc/nginx --check 'nginx -t' --apply 'systemctl reload nginx'\n"
      "  parley join --into /srv/site --key-file site-7k3q.join --follow\n"
      "The new set replaces the old one as a whole. When the check or the apply fails, or the server can\n"
      "not be reached to confirm, the old set comes back by itself.\n"
      "Exit codes: 0 installed, 1 failed, 2 wrong command line, 3 rolled back, 4 declined.");
  command->callback([globals, flags] { globals->run = [globals, flags] { return Join(*globals, *flags); }; });
}

}  // namespace parley::cli
