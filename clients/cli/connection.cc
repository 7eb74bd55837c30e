#include "clients/cli/connection.h"

#include <errno.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/cli/format.h"
#include "clients/cli/paths.h"
#include "clients/cli/unlock.h"
#include "lib/base/error.h"
#include "lib/keys/dial.h"
#include "lib/transport/grpc_status.h"

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
    return keys::ParseCredential(keys::FormatCredential(*device->contents().credential));
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
  if (globals.server.empty()) return;
  for (keys::AudienceKey& key : credential->keys) {
    if (key.audience == audience) key.address = globals.server;
  }
}

namespace {

absl::StatusOr<transport::Dialer::Options> OptionsOf(const Globals& globals, absl::string_view audience,
                                                     keys::Credential credential) {
  UseServer(globals, audience, &credential);
  const absl::Time now = absl::Now();
  if (credential.not_after <= now) {
    return Error(absl::StatusCode::kFailedPrecondition, "KEY_EXPIRED",
                 absl::StrCat("the credential ", CredentialPath(globals), " expired at ",
                              TimeText(credential.not_after), ", and this machine's clock says ", TimeText(now),
                              "; ask an admin for a new one, made with: parley key issue"));
  }
  return keys::DialOptions(credential, audience);
}

}  // namespace

absl::StatusOr<transport::Dialer::Options> DialerOptions(const Globals& globals, absl::string_view audience) {
  ASSIGN_OR_RETURN(keys::Credential credential, LoadCredential(globals));
  return OptionsOf(globals, audience, std::move(credential));
}

Connection::Connection(std::string address, std::unique_ptr<transport::Channel> channel, bool by_admin)
    : address_(std::move(address)), channel_(std::move(channel)), by_admin_(by_admin) {}

absl::StatusOr<std::unique_ptr<Connection>> Connection::Open(const Globals& globals, absl::string_view audience) {
  ASSIGN_OR_RETURN(keys::Credential credential, LoadCredential(globals));
  const bool by_admin = credential.role == access::v1::ROLE_ADMIN;
  ASSIGN_OR_RETURN(transport::Dialer::Options options, OptionsOf(globals, audience, std::move(credential)));
  std::string address = options.address;
  ASSIGN_OR_RETURN(std::unique_ptr<transport::Channel> channel, transport::Channel::Create(std::move(options)));
  return std::unique_ptr<Connection>(new Connection(std::move(address), std::move(channel), by_admin));
}

absl::Status Connection::Explain(const grpc::Status& status) const {
  if (status.ok()) return absl::OkStatus();
  absl::Status explained = channel_->Explain(status);
  if (Reason(explained) == "KEY_REFUSED" && by_admin_) {
    return Error(explained.code(), "KEY_REFUSED",
                 absl::StrCat(explained.message(),
                              "; when no admin has a good one, start keyd once with --new-admin, which makes another"));
  }
  if (!Reason(explained).empty()) return explained;
  if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
    return Error(absl::StatusCode::kDeadlineExceeded, "DEADLINE_EXCEEDED",
                 absl::StrCat(address_, " did not answer within 30 seconds; see its log, and try again"));
  }
  return transport::FromGrpc(status);
}

}  // namespace parley::cli
