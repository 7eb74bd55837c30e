// The membership of the device that the command line names, and roles as words.
#ifndef PARLEY_CLIENTS_CLI_CHAIN_H_
#define PARLEY_CLIENTS_CLI_CHAIN_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "clients/cli/command.h"
#include "clients/operator/membership.h"

namespace parley::cli {

using ops::DeviceMembership;

// The same globals, for a command that must act by the device file whatever the environment says.
Globals ByDevice(const Globals& globals);

// Unlocks the device file; --server is keyd's address. The errors are those of OpenDevice (unlock.h).
absl::StatusOr<ops::Membership> OpenMembership(const Globals& globals);
// The errors are those of OpenMembership and of Membership::FetchChain.
absl::StatusOr<trust::Chain> FetchChain(const Globals& globals);

// For a command whose --server is taskd's. The errors are those of OpenDevice and of ops::FollowDeviceMembership.
absl::StatusOr<DeviceMembership> FollowDeviceMembership(const Globals& globals);

// One of these, or a usage error that names them.
absl::StatusOr<access::v1::Role> ParseRole(absl::string_view option, const std::string& text,
                                           const std::vector<access::v1::Role>& among);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_CHAIN_H_
