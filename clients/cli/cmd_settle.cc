// parley settle.
#include <sys/stat.h>

#include <memory>

#include "clients/agent/agent.h"
#include "clients/cli/agent_flags.h"
#include "clients/cli/agent_output.h"
#include "clients/cli/agent_printer.h"
#include "clients/cli/command.h"
#include "clients/cli/output.h"
#include "clients/cli/terminal.h"
#include "lib/base/error.h"

namespace parley::cli {
namespace {

absl::StatusOr<ExitCode> Settle(const Globals& globals, const AgentFlags& flags) {
  agent::Options options;
  RETURN_IF_ERROR(flags.FillPlace(&options));
  const std::string target = options.into.empty() ? options.into_file : options.into;
  CancelOnSignal signals(OnHangup::kStop);
  options.cancellation = signals.cancellation();
  const std::unique_ptr<agent::Observer> printer = NewPrinter(globals, /*one_task=*/false);
  const absl::Status status = agent::ResumePending(options, printer.get());
  // The agent that has the target settles it.
  const bool in_use = Reason(status) == "TARGET_IN_USE";
  if (!status.ok() && !in_use) return status;
  struct stat info;
  const bool absent = !in_use && stat(target.c_str(), &info) != 0;
  if (globals.json()) return JsonEvent(in_use ? "inUse" : absent ? "absent" : "settled").Text("target", target).Print();
  if (!in_use && !absent) return PrintDone("settled        ", Printable(target), " has one whole set");
  PrintLine(in_use ? "  · in use         " : "  · nothing here   ", Printable(target),
            in_use ? " is settled by the agent that has it" : " does not exist, and nothing is undecided there");
  return kSuccess;
}

}  // namespace

void AddSettle(Command app, Globals* globals) {
  auto flags = std::make_shared<AgentFlags>();
  Command command = AddCommand(app, globals, "settle", "Settle an update that was interrupted here, without any server",
                               kNoGlobals, flags, &Settle);
  flags->AddPlaceTo(command);
  command.Footer(
      "An update that was killed between the exchange and the confirmation stays undecided until an agent runs again.\n"
      "This settles it: what can no longer be confirmed is rolled back once its --confirm-timeout is over, with the\n"
      "commands that the update was given. Where nothing is undecided it ends at once. It fails when the old set does\n"
      "not come back, or the apply command does not pass with it, until a join or an agent has told the server.\n"
      "Examples:\n"
      "  parley settle --into /etc/nginx\n"
      "  systemctl enable parley-settle@$(systemd-escape --path /etc/nginx)      after every boot");
}

}  // namespace parley::cli
