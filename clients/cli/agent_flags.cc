#include "clients/cli/agent_flags.h"

#include <signal.h>

#include <map>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "clients/cli/agent_printer.h"
#include "clients/cli/format.h"
#include "clients/cli/paths.h"
#include "lib/base/error.h"

namespace parley::cli {
namespace {

agent::Stop* signalled = nullptr;

void OnSignal(int) {
  signalled->Request();
  // A second Ctrl-C ends the process at once; it wakes up with the old set or the new one all the same.
  signal(SIGINT, SIG_DFL);
}

absl::Status FillDuration(absl::string_view option, const std::string& text, absl::Duration* duration) {
  if (text.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(*duration, ParseDuration(option, text));
  if (*duration <= absl::ZeroDuration()) return UsageError(absl::StrCat(option, " must be more than 0, e.g. 30s"));
  return absl::OkStatus();
}

}  // namespace

void AgentFlags::AddTo(CLI::App* command) {
  command->add_option("--into", into, "Folder that the files are laid over; made when missing")->required();
  command->add_option("--check", check, "Command that says whether the new set is good, e.g. 'nginx -t'");
  command->add_option("--apply", apply, "Command that puts it into effect, e.g. 'systemctl reload nginx'");
  command->add_option("--check-timeout", check_timeout, "Then the check counts as failed (1m)");
  command->add_option("--apply-timeout", apply_timeout, "Then the apply counts as failed (2m)");
  command->add_option("--confirm-timeout", confirm_timeout,
                      "Roll back unless the server confirms within this time (10m)");
  command->add_option("--label", labels, "key=value that tasks select by (repeat)");
  command->add_option("--fact", facts, "key=value that operators see (repeat)");
  command->add_flag("--require-operator-signature", require_operator_signature,
                    "Apply only what an enrolled operator's device has signed; needs a device file");
  command->add_option("--state", state, "Folder for keys and progress (/var/lib/parley for root)");
}

absl::Status AgentFlags::Fill(agent::Options* options) const {
  options->into = into;
  options->hooks.check = check;
  options->hooks.apply = apply;
  RETURN_IF_ERROR(FillDuration("--check-timeout", check_timeout, &options->hooks.check_timeout));
  RETURN_IF_ERROR(FillDuration("--apply-timeout", apply_timeout, &options->hooks.apply_timeout));
  RETURN_IF_ERROR(FillDuration("--confirm-timeout", confirm_timeout, &options->confirm_timeout));
  options->require_operator_signature = require_operator_signature;
  ASSIGN_OR_RETURN(options->labels, ParsePairs("--label", labels));
  ASSIGN_OR_RETURN(options->facts, ParsePairs("--fact", facts));
  options->state_dir = state.empty() ? StateFolder() : state;
  return absl::OkStatus();
}

absl::StatusOr<Membership> AgentFlags::FindMembership(const Globals& globals, bool enrolled) const {
  if (!enrolled && !require_operator_signature) return Membership();
  return FollowMembership(globals);
}

StopOnSignal::StopOnSignal() {
  signalled = &stop_;
  struct sigaction action = {};
  action.sa_handler = &OnSignal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

std::unique_ptr<agent::Observer> NewPrinter(const Globals& globals, bool one_task) {
  return globals.json() ? NewJsonPrinter() : NewTextPrinter(one_task);
}

}  // namespace parley::cli
