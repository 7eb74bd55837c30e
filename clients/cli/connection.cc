#include "clients/cli/connection.h"

#include <errno.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "clients/cli/paths.h"
#include "clients/cli/unlock.h"
#include "clients/operator/membership.h"
#include "lib/base/error.h"

namespace parley::cli {

std::string CredentialPath(const Globals& globals) {
  if (UsesDevice(globals)) return DevicePath(globals);
  if (!globals.credential_path.empty()) return globals.credential_path;
  std::string path = Environment("PARLEY_CREDENTIAL");
  return path.empty() ? ConfigFolder() + "/credential" : path;
}

absl::StatusOr<keys::Credential> LoadCredential(const Globals& globals) {
  if (UsesDevice(globals)) {
    ASSIGN_OR_RETURN(const device::DeviceFile* const device, OpenDevice(globals));
    return ops::CopyCredential(*device);
  }
  // Beside --credential it is plain what they are for: scripts give them to every command.
  if (globals.credential_path.empty()) RETURN_IF_ERROR(CheckUnlockOptions(globals));
  const std::string path = CredentialPath(globals);
  if (::access(path.c_str(), F_OK) != 0 && errno == ENOENT) {
    return Error(absl::StatusCode::kNotFound, "NO_CREDENTIAL",
                 absl::StrCat("there is no credential at ", path,
                              "; start a server here with `parley up`, name the file that you were given with "
                              "--credential or PARLEY_CREDENTIAL, or take an invitation with `parley claim`"));
  }
  return keys::ReadCredentialFile(path);
}

void UseServer(const Globals& globals, absl::string_view audience, keys::Credential* credential) {
  ops::UseAddress(audience, globals.server, credential);
}

absl::StatusOr<transport::Dialer::Options> DialerOptions(const Globals& globals, absl::string_view audience) {
  ASSIGN_OR_RETURN(keys::Credential credential, LoadCredential(globals));
  UseServer(globals, audience, &credential);
  return ops::DialerOptions(credential, CredentialPath(globals), audience);
}

absl::StatusOr<std::unique_ptr<Connection>> Connect(const Globals& globals, absl::string_view audience) {
  ASSIGN_OR_RETURN(keys::Credential credential, LoadCredential(globals));
  UseServer(globals, audience, &credential);
  return Connection::Open(credential, CredentialPath(globals), audience);
}

}  // namespace parley::cli
