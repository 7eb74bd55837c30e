// parley org: init, verify.
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "clients/cli/command.h"
#include "clients/cli/connection.h"
#include "clients/cli/format.h"
#include "clients/cli/output.h"
#include "clients/cli/terminal.h"
#include "clients/cli/unlock.h"
#include "clients/operator/founding.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/crypto/hash.h"
#include "lib/keys/identity.h"
#include "lib/keys/roles.h"

namespace parley::cli {
namespace {

using trust::v1::Certificate;

struct InitFlags {
  std::string user, device_name;
};

// For people to compare: the first half of a hash.
std::string Fingerprint(absl::string_view key) { return HexEncode(crypto::Sha256(key).substr(0, 16)); }

// The device file of this founding: a new one, or that of one that was interrupted.
absl::StatusOr<device::DeviceFile*> BeginFounding(const Globals& globals, const InitFlags& flags) {
  if (::access(DevicePath(globals).c_str(), F_OK) != 0) {
    return CreateDevice(globals, ops::MakeFounder(flags.user, flags.device_name));
  }
  ASSIGN_OR_RETURN(device::DeviceFile* const file, UnlockDevice(globals));
  if (ops::IsFounding(file->contents(), flags.user)) return file;
  return Error(absl::StatusCode::kAlreadyExists, "DEVICE_FILE_EXISTS",
               absl::StrCat(file->path(), " is of ", Printable(file->contents().user_name),
                            " already; name another file with --device for another organisation"));
}

absl::StatusOr<ExitCode> Init(const Globals& globals, const InitFlags& flags) {
  if (!trust::IsUserName(flags.user)) {
    return UsageError("--user is a name of 1 to 48 characters out of a-z, 0-9, dot, underscore and hyphen");
  }
  if (!trust::IsDeviceLabel(flags.device_name)) {
    return UsageError("--device-name has 1 to 64 bytes and no control characters");
  }
  // The founding is credited to whoever holds a hand-made admin credential, not to a device that does not exist yet.
  ASSIGN_OR_RETURN(const std::unique_ptr<ops::Connection> keyd, Connect(ByCredential(globals), keys::kKeyd));
  ASSIGN_OR_RETURN(device::DeviceFile* const file, BeginFounding(globals, flags));
  RETURN_IF_ERROR(ops::FoundOrganisation(*keyd, file));
  const device::Contents& contents = file->contents();
  if (globals.json()) {
    return JsonObject()
        .Text("organisation", contents.organisation)
        .Text("rootVerificationKey", HexEncode(contents.root_key))
        .Text("user", trust::UserName(contents.user_id))
        .Text("device", trust::DeviceName(contents.device_id))
        .Text("deviceFile", file->path())
        .Print();
  }
  PrintDone("founded      ", Printable(contents.organisation), ", root key ", Fingerprint(contents.root_key),
            "; its private half was destroyed");
  PrintDone("first admin  ", contents.user_name, " on ", contents.device_label);
  PrintLine("  device file    ", file->path(), ", sealed by your password; keep a copy of both");
  PrintLine(Dim("  invite a second admin, in case this device is lost: parley invite user NAME --role admin"));
  return kSuccess;
}

// What a certificate states, for people.
std::string Statement(const trust::Chain& chain, const Certificate& certificate) {
  const auto user = [&chain](const std::string& id) { return chain.FindUser(id)->name; };
  const auto device = [&](const std::string& id) {
    const trust::Device& found = *chain.FindDevice(id);
    return absl::StrCat(user(found.user), "'s device ", found.label);
  };
  switch (certificate.statement_case()) {
    case Certificate::kUser:
      return absl::StrCat("user ", certificate.user().name(), ", ", keys::RoleName(certificate.user().role()));
    case Certificate::kDevice:
      return device(certificate.device().device());
    case Certificate::kRole:
      return absl::StrCat(user(certificate.role().user()), " is ", keys::RoleName(certificate.role().role()),
                          " from now on");
    case Certificate::kUserRevocation:
      return absl::StrCat("user ", user(certificate.user_revocation().user()), " revoked");
    case Certificate::kDeviceRevocation:
      return absl::StrCat(device(certificate.device_revocation().device()), " revoked");
    case Certificate::STATEMENT_NOT_SET:
      break;
  }
  return "";
}

std::string Author(const trust::Chain& chain, const Certificate& certificate) {
  if (certificate.author_device().empty()) return "root";
  const trust::Device& device = *chain.FindDevice(certificate.author_device());
  return absl::StrCat(chain.FindUser(device.user)->name, " on ", device.label);
}

absl::StatusOr<ExitCode> Verify(const Globals& globals) {
  ASSIGN_OR_RETURN(const trust::Chain chain, FetchChain(globals));
  const device::Contents& contents = globals.device->contents();
  if (globals.json()) {
    for (const Certificate& certificate : chain.certificates()) {
      JsonObject()
          .Raw("certificate", ToJson(certificate))
          .Text("hash", HexEncode(chain.HashAt(certificate.sequence())))
          .Text("author", Author(chain, certificate))
          .Text("statement", Statement(chain, certificate))
          .Print();
    }
    return JsonObject()
        .Text("organisation", contents.organisation)
        .Text("rootVerificationKey", HexEncode(contents.root_key))
        .Number("sequence", chain.head().sequence)
        .Text("hash", HexEncode(chain.head().hash))
        .Print();
  }
  std::vector<std::vector<std::string>> rows;
  for (const Certificate& certificate : chain.certificates()) {
    rows.push_back({absl::StrCat(certificate.sequence()), TimeText(ToTime(certificate.time())),
                    Author(chain, certificate), Statement(chain, certificate),
                    HexEncode(chain.HashAt(certificate.sequence()).substr(0, 6)) + "…"});
  }
  PrintTable({"#", "TIME", "SIGNED BY", "STATES", "HASH"}, rows);
  return PrintDone(Count(chain.head().sequence, "certificate"), " of ", Printable(contents.organisation),
                   " verified up to the root key ", Fingerprint(contents.root_key));
}

}  // namespace

void AddOrg(Command app, Globals* globals) {
  Command org = AddGroup(app, "org", "Found the organisation; verify who belongs to it");
  auto flags = std::make_shared<InitFlags>();
  flags->device_name = DefaultDeviceName();
  Command init = AddCommand(org, globals, "init", "Found the chain of trust, with you as the first admin",
                            kCallerOptions, flags, &Init);
  init.AddOption("--user", flags->user, "Your name in the organisation, e.g. alice").Required();
  init.AddOption("--device-name", flags->device_name, "What people call this device").ShowDefault();
  init.Footer(
      "This is done once for an organisation, with the admin credential that keyd wrote at its first start:\n"
      "  parley org init --user alice --device-name \"Alice's laptop\"\n"
      "A root key signs you and this device, and is destroyed: from then on admins let others in.");
  AddCommand(org, globals, "verify", "Verify the whole chain of trust up to the root key, and print it", kMemberOptions,
             &Verify);
}

}  // namespace parley::cli
