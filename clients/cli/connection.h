// The credential of the command line, and connections with it.
#ifndef PARLEY_CLIENTS_CLI_CONNECTION_H_
#define PARLEY_CLIENTS_CLI_CONNECTION_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "clients/cli/command.h"
#include "clients/operator/connection.h"

namespace parley::cli {

using ops::Connection;

// The credential in the device file where UsesDevice() (unlock.h), else that of --credential, $PARLEY_CREDENTIAL or the
// configuration folder, in this order. NOT_FOUND (NO_CREDENTIAL) says how to get one.
absl::StatusOr<keys::Credential> LoadCredential(const Globals& globals);
// The file that it would be read from.
std::string CredentialPath(const Globals& globals);

// Puts --server, where it is given, in place of the audience's address.
void UseServer(const Globals& globals, absl::string_view audience, keys::Credential* credential);

// How to dial an audience: its address, or --server's, and the key for it. FAILED_PRECONDITION (KEY_EXPIRED).
absl::StatusOr<transport::Dialer::Options> DialerOptions(const Globals& globals, absl::string_view audience);
// The errors are those of DialerOptions and of Connection::Open.
absl::StatusOr<std::unique_ptr<Connection>> Connect(const Globals& globals, absl::string_view audience);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_CONNECTION_H_
