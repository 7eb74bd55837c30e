// What the command line acts with: a credential, or a device and its place in the chain of trust; and connections with
// it.
//
// Threads: free functions, for one thread at a time.
#ifndef PARLEY_CLIENTS_CLI_CONNECTION_H_
#define PARLEY_CLIENTS_CLI_CONNECTION_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "clients/cli/command.h"
#include "clients/operator/connection.h"
#include "clients/operator/membership.h"

namespace parley::cli {

// Returns the globals of a command that must act by the device file, whatever the environment says.
Globals ByDevice(const Globals& globals);
// Returns the globals of a command that must act by a credential, whatever device file there is.
Globals ByCredential(const Globals& globals);

// Returns the credential in the device file if UsesDevice (unlock.h), or else that of --credential, $PARLEY_CREDENTIAL
// or the configuration folder, in this order; --server takes the place of the address for `audience`. Returns NOT_FOUND
// (NO_CREDENTIAL), which says how to get one, or the errors of OpenDevice and of keys::ReadCredentialFile.
absl::StatusOr<keys::Credential> LoadCredential(const Globals& globals, absl::string_view audience = "");
// Returns the path of the file that LoadCredential reads.
std::string CredentialPath(const Globals& globals);

// Returns the errors of LoadCredential and of ops::Connection::Open.
absl::StatusOr<std::unique_ptr<ops::Connection>> Connect(const Globals& globals, absl::string_view audience);

// Connects, and makes one call. Returns the errors of Connect and of ops::Connection::Call.
template <typename Service, typename Request, typename Response>
absl::StatusOr<Response> Call(const Globals& globals, absl::string_view audience,
                              grpc::Status (Service::Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                              const Request& request) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ops::Connection> server, Connect(globals, audience));
  return server->Call<Service>(method, request);
}

// Unlocks the device file; --server is keyd's address. Returns the errors of OpenDevice (unlock.h).
absl::StatusOr<ops::Membership> OpenMembership(const Globals& globals);
// Returns the errors of OpenMembership and of ops::Membership::FetchChain.
absl::StatusOr<trust::Chain> FetchChain(const Globals& globals);

// Returns this host's name, or "device" if that cannot be the name of a device.
std::string DefaultDeviceName();

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_CONNECTION_H_
