// parley device: password, forget, renew.
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/cli/command.h"
#include "clients/cli/connection.h"
#include "clients/cli/format.h"
#include "clients/cli/output.h"
#include "clients/cli/unlock.h"
#include "lib/base/error.h"
#include "lib/keys/credential.h"

namespace parley::cli {
namespace {

ExitCode Say(const Globals& globals, absl::string_view what) { return globals.json() ? kSuccess : PrintDone(what); }

absl::StatusOr<ExitCode> ChangePassword(const Globals& globals, const std::string& new_password_file) {
  ASSIGN_OR_RETURN(device::DeviceFile* const file, UnlockDevice(globals));
  ASSIGN_OR_RETURN(const Secret password, NewDevicePassword(new_password_file));
  RETURN_IF_ERROR(file->ChangePassword(password));
  return Say(globals, absl::StrCat(file->path(), " has its new password; copies of it still open with the old one"));
}

absl::StatusOr<ExitCode> Forget(const Globals& globals) {
  ASSIGN_OR_RETURN(const bool forgotten, device::DeviceFile::Forget(DevicePath(globals)));
  return Say(globals, forgotten ? "the password is asked for again" : "nothing was remembered");
}

struct RenewFlags {
  std::string ttl = "90d", from;
};

absl::StatusOr<ExitCode> Renew(const Globals& globals, const RenewFlags& flags) {
  absl::Time until;
  if (flags.from.empty()) {
    ASSIGN_OR_RETURN(const absl::Duration life, ParseTtl("--ttl", flags.ttl, absl::Seconds(1), "a credential lives"));
    ASSIGN_OR_RETURN(const ops::Membership membership, OpenMembership(globals));
    ASSIGN_OR_RETURN(until, membership.RenewCredential(life));
  } else {
    if (!globals.server.empty()) return UsageError("--server and --from exclude one another: no server is asked");
    ASSIGN_OR_RETURN(keys::Credential credential, keys::ReadCredentialFile(flags.from));
    until = credential.not_after;
    const Globals by_device = ByDevice(globals);
    ASSIGN_OR_RETURN(device::DeviceFile* const file, OpenDevice(by_device));
    RETURN_IF_ERROR(file->Update([&](device::Contents* contents) -> absl::Status {
      if (credential.subject != contents->credential->subject) {
        return Error(absl::StatusCode::kInvalidArgument, "OTHER_SUBJECT",
                     absl::StrCat(flags.from, " is for ", credential.subject, ", and this device is one of ",
                                  contents->credential->subject, "'s; nothing was changed"));
      }
      contents->credential = std::move(credential);
      return absl::OkStatus();
    }));
  }
  return Say(globals, absl::StrCat("this device's credential is good until ", TimeText(until)));
}

}  // namespace

void AddDeviceFileCommands(Command device, Globals* globals) {
  auto file = std::make_shared<std::string>();
  Command password = AddCommand(device, globals, "password", "Change the password of this device's file",
                                kDeviceOption | kUnlockOptions, file, &ChangePassword);
  password.AddOption("--new-password-file", *file, "File of mode 0600 with the new password, in place of a prompt");
  AddCommand(device, globals, "forget", "Forget what --remember left with this session", kDeviceOption, &Forget);
  auto flags = std::make_shared<RenewFlags>();
  Command renew = AddCommand(device, globals, "renew", "Get a new credential for this device before the old one ends",
                             kMemberOptions, flags, &Renew);
  const Option ttl = renew.AddOption("--ttl", flags->ttl, "How long it lives: 1s to 366d").ShowDefault();
  renew.AddOption("--from", flags->from, "Take the one that an admin made: parley key issue --for-device")
      .Excludes(ttl);
}

}  // namespace parley::cli
