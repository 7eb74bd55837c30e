// The chain of trust for commands: fetched, verified up to the root key in the device file, and remembered there.
#ifndef PARLEY_CLIENTS_CLI_CHAIN_H_
#define PARLEY_CLIENTS_CLI_CHAIN_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "clients/cli/command.h"
#include "clients/cli/connection.h"
#include "lib/device/device_file.h"
#include "lib/trust/certificate.h"
#include "lib/trust/chain.h"
#include "parley/task/v1/manifest.pb.h"
#include "parley/trust/v1/trust_service.pb.h"

namespace parley::cli {

// The same globals, for a command that must act by the device file whatever the environment says.
Globals ByDevice(const Globals& globals);

// Fetches and verifies. What it has seen it remembers in the device file, and refuses a chain that does not go on from
// there. The errors of OpenDevice and of trust::TrustClient::FetchChain.
absl::StatusOr<trust::Chain> FetchChain(const Globals& globals);

// Signs by this device what `make` states after the newest certificate, and appends it; again where another device was
// faster. The errors of keyd, and of `make`, which looks at the chain and adds to `certificates`.
using MakeCertificates = std::function<absl::Status(const trust::Chain& chain, trust::CertificateMaker* maker,
                                                    std::vector<trust::v1::SignedCertificate>* certificates)>;
absl::StatusOr<trust::v1::AppendCertificatesResponse> AppendCertificates(const Globals& globals,
                                                                         const std::string& reason,
                                                                         const MakeCertificates& make);

// This device's membership for a command that runs long. Any thread may call either. `globals.server` is taskd's, here
// and below.
struct DeviceMembership {
  // Each call fetches what is new. The errors of FetchChain.
  std::function<absl::StatusOr<std::shared_ptr<const trust::Chain>>()> chain;
  // RenewCredential; then the credential.
  std::function<absl::StatusOr<keys::Credential>()> renew;
};
absl::StatusOr<DeviceMembership> FollowDeviceMembership(const Globals& globals);

// Puts a new credential into the device file; until when it is good. The former one stays good until its end. The
// errors of OpenDevice and of keyd.
absl::StatusOr<absl::Time> RenewCredential(const Globals& globals, absl::Duration life);

// This device's operator signature on a manifest that its task's key has signed; who it says signed, for people.
absl::StatusOr<std::string> SignAsOperator(const Globals& globals, task::v1::SignedManifest* manifest);

// By its id, the beginning of its id, or its name; those that are revoked only by their id. NOT_FOUND
// (MEMBER_NOT_FOUND), FAILED_PRECONDITION (MEMBER_AMBIGUOUS).
absl::StatusOr<const trust::Device*> FindDevice(const trust::Chain& chain, const std::string& whom);

// One of these, or a usage error that names them.
absl::StatusOr<access::v1::Role> ParseRole(absl::string_view option, const std::string& text,
                                           const std::vector<access::v1::Role>& among);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_CHAIN_H_
