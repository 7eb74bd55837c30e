// parley user list|revoke|role, parley device list|revoke.
#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "clients/cli/command.h"
#include "clients/cli/connection.h"
#include "clients/cli/ended_with.h"
#include "clients/cli/format.h"
#include "clients/cli/output.h"
#include "clients/cli/terminal.h"
#include "clients/operator/membership.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/keys/roles.h"

namespace parley::cli {
namespace {

struct MemberFlags {
  // The name of a user or a device, or an id.
  std::string whom;
  std::string user;
  std::string role;
  std::string reason;
};

std::string ClientStatus(const std::optional<absl::Time>& revoked) {
  return revoked.has_value() ? "revoked " + TimeText(*revoked) : "good";
}

absl::StatusOr<ExitCode> ListUsers(const Globals& globals, const MemberFlags&) {
  ASSIGN_OR_RETURN(const trust::Chain chain, FetchChain(globals));
  std::vector<std::vector<std::string>> rows;
  for (const trust::User* const user : chain.Users()) {
    const std::vector<const trust::Device*> devices = chain.DevicesOf(user->id);
    const auto live = std::count_if(devices.begin(), devices.end(),
                                    [&chain](const auto* device) { return chain.IsLive(device->id); });
    if (globals.json()) {
      JsonObject()
          .Text("name", trust::UserName(user->id))
          .Text("userName", user->name)
          .Text("role", keys::RoleName(user->role))
          .Number("liveDevices", live)
          .Text("added", JsonTime(user->added))
          .Bool("revoked", user->revoked.has_value())
          .Print();
    }
    rows.push_back({user->name, keys::RoleName(user->role), absl::StrCat(live), TimeText(user->added),
                    ClientStatus(user->revoked), HexEncode(user->id)});
  }
  if (!globals.json()) PrintTable({"NAME", "ROLE", "DEVICES", "SINCE", "STATE", "ID"}, rows);
  return kSuccess;
}

absl::StatusOr<ExitCode> ListDevices(const Globals& globals, const MemberFlags& flags) {
  ASSIGN_OR_RETURN(const trust::Chain chain, FetchChain(globals));
  std::vector<const trust::User*> users = chain.Users();
  if (!flags.user.empty()) {
    ASSIGN_OR_RETURN(const trust::User* const user, ops::FindUser(chain, flags.user));
    users = {user};
  }
  std::vector<std::vector<std::string>> rows;
  for (const trust::User* const user : users) {
    for (const trust::Device* const device : chain.DevicesOf(user->id)) {
      const std::optional<absl::Time>& revoked = device->revoked.has_value() ? device->revoked : user->revoked;
      if (globals.json()) {
        JsonObject()
            .Text("name", trust::DeviceName(device->id))
            .Text("label", device->label)
            .Text("user", trust::UserName(user->id))
            .Text("userName", user->name)
            .Text("added", JsonTime(device->added))
            .Bool("revoked", revoked.has_value())
            .Print();
      }
      const bool this_one = device->id == globals.device->contents().device_id;
      rows.push_back({device->label + (this_one ? " (this one)" : ""), user->name, TimeText(device->added),
                      ClientStatus(revoked), HexEncode(device->id)});
    }
  }
  if (!globals.json()) PrintTable({"LABEL", "USER", "SINCE", "STATE", "ID"}, rows);
  return kSuccess;
}

// What a certificate states, and of whom, for people; then what came of it.
struct Change {
  std::string name, text;
  trust::v1::SignedCertificate certificate;
  trust::v1::AppendCertificatesResponse response;
  EndedWith ended;
};
using MakeChange = std::function<absl::StatusOr<Change>(const trust::Chain& chain, trust::CertificateMaker* maker)>;

absl::StatusOr<Change> Append(const Globals& globals, const MemberFlags& flags, const MakeChange& make) {
  Change change;
  ASSIGN_OR_RETURN(const ops::Membership membership, OpenMembership(globals));
  const auto make_certificate = [&](const auto& chain, auto* maker) -> absl::StatusOr<trust::v1::SignedCertificate> {
    ASSIGN_OR_RETURN(change, make(chain, maker));
    return change.certificate;
  };
  ASSIGN_OR_RETURN(change.response, membership.AppendCertificate(flags.reason, make_certificate));
  change.ended = AskWhatEnded(ByDevice(globals), change.response.credentials());
  if (globals.json()) {
    JsonObject()
        .Text("name", change.name)
        .Number("sequence", change.response.sequence())
        .Number("revokedCredentials", change.response.revoked_credentials())
        .Raw("ended", EndedJson(change.ended))
        .Print();
  }
  return change;
}

absl::StatusOr<ExitCode> Revoke(const Globals& globals, const MemberFlags& flags, const MakeChange& make) {
  ASSIGN_OR_RETURN(const Change change, Append(globals, flags, make));
  if (globals.json()) return kSuccess;
  PrintDone(Printable(change.text), " is revoked by certificate ", change.response.sequence(), ", and with it ",
            Count(change.response.revoked_credentials(), "credential"), "; connections close within a second");
  PrintLine("    with them ended ", EndedText(change.ended));
  ShowWhatGoesOn(change.ended);
  return kSuccess;
}

absl::StatusOr<ExitCode> RevokeUser(const Globals& globals, const MemberFlags& flags) {
  return Revoke(globals, flags, [&](const auto& chain, auto* maker) -> absl::StatusOr<Change> {
    ASSIGN_OR_RETURN(const trust::User* const user, ops::FindUser(chain, flags.whom));
    return Change{trust::UserName(user->id), user->name, maker->RevokeUser(user->id), {}};
  });
}

absl::StatusOr<ExitCode> RevokeDevice(const Globals& globals, const MemberFlags& flags) {
  return Revoke(globals, flags, [&](const auto& chain, auto* maker) -> absl::StatusOr<Change> {
    ASSIGN_OR_RETURN(const trust::Device* const device, ops::FindDevice(chain, flags.whom));
    const std::string text = absl::StrCat(chain.FindUser(device->user)->name, "'s device ", device->label);
    return Change{trust::DeviceName(device->id), text, maker->RevokeDevice(device->id), {}};
  });
}

absl::StatusOr<ExitCode> ChangeRole(const Globals& globals, const MemberFlags& flags) {
  ASSIGN_OR_RETURN(
      const access::v1::Role role,
      ParseRole("the role", flags.role, {access::v1::ROLE_ADMIN, access::v1::ROLE_OPERATOR, access::v1::ROLE_AUDITOR}));
  ASSIGN_OR_RETURN(const Change change,
                   Append(globals, flags, [&](const auto& chain, auto* maker) -> absl::StatusOr<Change> {
                     ASSIGN_OR_RETURN(const trust::User* const user, ops::FindUser(chain, flags.whom));
                     return Change{trust::UserName(user->id), user->name, maker->ChangeRole(user->id, role), {}};
                   }));
  if (globals.json()) return kSuccess;
  PrintDone(Printable(change.text), " is ", keys::RoleName(role), " by certificate ", change.response.sequence());
  if (change.response.revoked_credentials() == 0) {
    PrintLine("    on each of their devices, for a credential of that role:  parley device renew");
    return kSuccess;
  }
  PrintLine("    ", Count(change.response.revoked_credentials(), "credential"),
            " of the higher role ended, and with them ", EndedText(change.ended), "; for each of their devices:");
  PrintLine("      here   parley key issue --for-device DEVICE --out FILE");
  PrintLine("      there  parley device renew --from FILE");
  ShowWhatGoesOn(change.ended);
  return kSuccess;
}

void AddReason(Command command, MemberFlags* flags) {
  command.AddOption("--reason", flags->reason, "Kept in the audit log");
}

}  // namespace

void AddUser(Command app, Globals* globals) {
  Command user = AddGroup(app, "user", "List and revoke the members of the organisation, and change their roles");
  auto flags = std::make_shared<MemberFlags>();
  AddCommand(user, globals, "list", "List everybody in the chain of trust, verified", kMemberOptions, flags,
             &ListUsers);
  Command revoke =
      AddCommand(user, globals, "revoke", "Revoke a user, all of their devices and credentials; admins only",
                 kMemberOptions, flags, &RevokeUser);
  revoke.AddOption("user", flags->whom, "The user's name or id, as in `parley user list`").Required();
  AddReason(revoke, flags.get());
  Command role =
      AddCommand(user, globals, "role", "Give a user another role; admins only", kMemberOptions, flags, &ChangeRole);
  role.AddOption("user", flags->whom, "The user's name or id, as in `parley user list`").Required();
  role.AddOption("role", flags->role, "admin, operator or auditor").Required();
  AddReason(role, flags.get());
}

void AddDevice(Command app, Globals* globals) {
  Command device = AddGroup(app, "device", "List and revoke devices of the organisation; manage this device's file");
  auto flags = std::make_shared<MemberFlags>();
  AddCommand(device, globals, "list", "List the devices in the chain of trust, verified", kMemberOptions, flags,
             &ListDevices)
      .AddOption("--user", flags->user, "List the devices of this user only");
  Command revoke = AddCommand(device, globals, "revoke", "Revoke a device of yours; admins: any device", kMemberOptions,
                              flags, &RevokeDevice);
  revoke.AddOption("device", flags->whom, "Its name, its id or the beginning of its id, as in `parley device list`")
      .Required();
  AddReason(revoke, flags.get());
  AddDeviceFileCommands(device, globals);
}

}  // namespace parley::cli
