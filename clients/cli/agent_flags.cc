#include "clients/cli/agent_flags.h"

#include <filesystem>
#include <system_error>

#include "clients/cli/format.h"
#include "clients/cli/paths.h"
#include "clients/cli/unlock.h"
#include "lib/base/error.h"

namespace parley::cli {
namespace {

absl::Status FillDuration(absl::string_view option, const std::string& text, absl::Duration* duration) {
  if (text.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(*duration, ParseDuration(option, text));
  if (*duration <= absl::ZeroDuration()) return UsageError(option, " must be more than 0, e.g. 30s");
  return absl::OkStatus();
}

// The path itself when there is no working folder any more.
std::string Absolute(const std::string& path) {
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  return path.empty() || error ? path : absolute.string();
}

agent::Method ParseMethod(const std::string& text) {
  if (text == "exchange") return agent::Method::kExchange;
  return text == "files" ? agent::Method::kFiles : agent::Method::kAutomatic;
}

}  // namespace

const char kCommandsHelp[] =
    "The commands are run by /bin/sh in the target folder (with --into-file: in the file's folder) once the new set\n"
    "is in place. They see PARLEY_TASK, PARLEY_REVISION, PARLEY_TARGET and PARLEY_DIGEST, a PARLEY_LABEL_NAME for\n"
    "each label that operators have set for this device, and a PARLEY_FACT_NAME for each fact. Each may run again\n"
    "after a crash, and with the old set.\n"
    "--method exchange swaps the whole folder at once; files renames file by file, for mount points, single files and\n"
    "folders that programs hold open; auto uses what the target demands, and says so.\n";

void AgentFlags::AddPlaceTo(Command command) {
  const Option folder = command.AddOption("--into", into, "Folder that the files are laid over; made when missing");
  command.AddOption("--into-file", into_file, "File that a payload of one file becomes, e.g. /etc/motd")
      .Excludes(folder);
  command.AddOption("--state", state, "Folder for keys and progress (/var/lib/parley for root)");
}

void AgentFlags::AddTo(Command command) {
  AddPlaceTo(command);
  command.AddChoice("--method", method, {"auto", "exchange", "files"}, "How the new set is put in place");
  const Option check_command =
      command.AddOption("--check", check, "Command that says whether the new set is good, e.g. 'nginx -t'");
  const Option apply_command =
      command.AddOption("--apply", apply, "Command that puts the new set into effect, e.g. 'systemctl reload nginx'");
  command.AddOption("--check-timeout", check_timeout, "How long the check may take (1m)").Needs(check_command);
  command.AddOption("--apply-timeout", apply_timeout, "How long the apply may take (2m)").Needs(apply_command);
  command.AddOption("--confirm-timeout", confirm_timeout,
                    "Roll back unless the server confirms within this time (10m)");
  command.AddOption("--label", labels).Hidden().OneValueEach();
  command
      .AddOption("--fact", facts,
                 "key=value that this machine says of itself; operators can select by fact:key=value (repeatable)")
      .OneValueEach();
  command.AddFlag("--require-operator-signature", require_operator_signature,
                  "Apply only what an enrolled operator's device has signed; needs a device file");
}

absl::Status AgentFlags::FillPlace(agent::Options* options) const {
  if (into.empty() && into_file.empty()) {
    return UsageError("say where the set goes: --into FOLDER, or --into-file FILE for a single file");
  }
  // The working folder may be swapped, and be another one then.
  options->into = Absolute(into);
  options->into_file = Absolute(into_file);
  options->state_dir = state.empty() ? StateFolder() : state;
  return absl::OkStatus();
}

absl::Status AgentFlags::Fill(agent::Options* options) const {
  RETURN_IF_ERROR(FillPlace(options));
  options->method = ParseMethod(method);
  options->hooks.check = check;
  options->hooks.apply = apply;
  RETURN_IF_ERROR(FillDuration("--check-timeout", check_timeout, &options->hooks.check_timeout));
  RETURN_IF_ERROR(FillDuration("--apply-timeout", apply_timeout, &options->hooks.apply_timeout));
  RETURN_IF_ERROR(FillDuration("--confirm-timeout", confirm_timeout, &options->confirm_timeout));
  options->require_operator_signature = require_operator_signature;
  if (!labels.empty()) {
    return UsageError(
        "labels are set by an admin, with `parley key label NAME key=value`; what this machine says of itself is "
        "--fact");
  }
  ASSIGN_OR_RETURN(options->facts, ParsePairs("--fact", facts));
  return absl::OkStatus();
}

absl::StatusOr<ops::DeviceMembership> AgentFlags::FindDeviceMembership(const Globals& globals, bool enrolled) const {
  if (enrolled || require_operator_signature) {
    ASSIGN_OR_RETURN(device::DeviceFile* const file, OpenDevice(globals));
    return ops::FollowDeviceMembership(file);
  }
  RETURN_IF_ERROR(CheckUnlockOptions(globals));
  return ops::DeviceMembership();
}

}  // namespace parley::cli
