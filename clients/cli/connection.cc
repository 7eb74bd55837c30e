#include "clients/cli/connection.h"

#include <errno.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "clients/cli/paths.h"
#include "clients/cli/unlock.h"

namespace parley::cli {
namespace {

std::string CredentialFile(const Globals& globals) {
  if (!globals.credential_path.empty()) return globals.credential_path;
  const std::string path = Environment("PARLEY_CREDENTIAL");
  return path.empty() ? ConfigFolder() + "/credential" : path;
}

absl::StatusOr<keys::Credential> ReadCredential(const Globals& globals) {
  if (UsesDevice(globals)) {
    ASSIGN_OR_RETURN(const device::DeviceFile* const device, OpenDevice(globals));
    return ops::CopyCredential(*device);
  }
  // Beside --credential it is plain what they are for: scripts give them to every command.
  if (globals.credential_path.empty()) RETURN_IF_ERROR(CheckUnlockOptions(globals));
  const std::string path = CredentialFile(globals);
  if (::access(path.c_str(), F_OK) != 0 && errno == ENOENT) {
    return Error(absl::StatusCode::kNotFound, "NO_CREDENTIAL",
                 absl::StrCat("there is no credential at ", path,
                              "; start a server here with `parley up`, name the file that you were given with "
                              "--credential or PARLEY_CREDENTIAL, or take an invitation with `parley claim`"));
  }
  return keys::ReadCredentialFile(path);
}

}  // namespace

Globals ByDevice(const Globals& globals) {
  Globals by_device = globals;
  by_device.device_path = DevicePath(globals);
  by_device.credential_path.clear();
  return by_device;
}

Globals ByCredential(const Globals& globals) {
  Globals by_credential = globals;
  by_credential.credential_path = CredentialFile(globals);
  by_credential.device_path.clear();
  by_credential.password_file.clear();
  by_credential.remember = false;
  return by_credential;
}

absl::StatusOr<keys::Credential> LoadCredential(const Globals& globals, absl::string_view audience) {
  ASSIGN_OR_RETURN(keys::Credential credential, ReadCredential(globals));
  ops::UseAddress(audience, globals.server, &credential);
  return credential;
}

std::string CredentialPath(const Globals& globals) {
  return UsesDevice(globals) ? DevicePath(globals) : CredentialFile(globals);
}

absl::StatusOr<std::unique_ptr<ops::Connection>> Connect(const Globals& globals, absl::string_view audience) {
  ASSIGN_OR_RETURN(const keys::Credential credential, LoadCredential(globals, audience));
  return ops::Connection::Open(credential, CredentialPath(globals), audience);
}

absl::StatusOr<ops::Membership> OpenMembership(const Globals& globals) {
  ASSIGN_OR_RETURN(device::DeviceFile* const file, OpenDevice(globals));
  return ops::Membership(file, globals.server);
}

absl::StatusOr<trust::Chain> FetchChain(const Globals& globals) {
  ASSIGN_OR_RETURN(const ops::Membership membership, OpenMembership(globals));
  return membership.FetchChain();
}

std::string DefaultDeviceName() {
  char name[256] = {};
  return gethostname(name, sizeof(name) - 1) == 0 && trust::IsDeviceLabel(name) ? name : "device";
}

}  // namespace parley::cli
