// parley agent.
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/agent/agent.h"
#include "clients/cli/agent_flags.h"
#include "clients/cli/agent_output.h"
#include "clients/cli/agent_printer.h"
#include "clients/cli/command.h"
#include "clients/cli/connection.h"
#include "clients/cli/unlock.h"
#include "lib/base/error.h"
#include "lib/keys/identity.h"
#include "lib/transport/quiet_grpc.h"
#include "lib/transport/relay_in_callers.h"

namespace parley::cli {
namespace {

absl::StatusOr<ExitCode> RunAgent(const Globals& globals, const AgentFlags& flags) {
  transport::UseGrpcQuietly();
  transport::RelayInCallers();
  agent::DeviceOptions options;
  RETURN_IF_ERROR(flags.Fill(&options));
  ASSIGN_OR_RETURN(options.credential, LoadCredential(globals, keys::kTaskd));
  if (options.credential.role != access::v1::ROLE_DEVICE) {
    return UsageError("the credential ", CredentialPath(globals),
                      " is not a device's; an admin makes one with: parley key issue --role device "
                      "--subject NAME --out FILE");
  }
  const bool by_device = UsesDevice(globals);
  ASSIGN_OR_RETURN(ops::DeviceMembership membership, flags.FindDeviceMembership(globals, by_device));
  options.chain = std::move(membership.chain);
  // An admin made what a credential's file holds, and makes the next one.
  if (by_device) {
    options.renew = [&globals, renew = std::move(membership.renew)]() -> absl::StatusOr<keys::Credential> {
      ASSIGN_OR_RETURN(keys::Credential credential, renew());
      ops::UseAddress(keys::kTaskd, globals.server, &credential);
      return credential;
    };
  }
  CancelOnSignal signals(OnHangup::kIgnore);
  options.cancellation = signals.cancellation();
  const std::unique_ptr<agent::Observer> printer = NewPrinter(globals, /*one_task=*/false);
  const absl::Status status = agent::RunDevice(std::move(options), printer.get());
  if (absl::IsCancelled(status)) return kSuccess;
  return status;
}

}  // namespace

void AddAgent(Command app, Globals* globals) {
  auto flags = std::make_shared<AgentFlags>();
  Command command =
      AddCommand(app, globals, "agent", "Stay connected and take part in every task for this device's labels",
                 kCallerOptions, flags, &RunAgent);
  flags->AddTo(command);
  command.Footer(absl::StrCat(
      "The agent needs a device's credential, which an admin makes once, or better a device file, by enrolment:\n"
      "  parley key issue --role device --subject web-1 --label site=berlin --out web-1.credential\n"
      "  parley invite user web-1 --role device        then here: parley claim\n"
      "Example:\n"
      "  parley agent --credential web-1.credential \\\n"
      "      --into /etc/nginx --check 'nginx -t' --apply 'systemctl reload nginx'\n"
      "It takes part in the tasks that select this device by the labels that an admin has given it, at first or with\n"
      "`parley key label`, or by its facts. {task} in --into stands for the task's name. It runs until it is stopped,\n"
      "and goes on when its terminal is closed. With a device file it renews its credential by itself; with a\n"
      "credential it ends when that does.\n",
      kCommandsHelp));
}

}  // namespace parley::cli
