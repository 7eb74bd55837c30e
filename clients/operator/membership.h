// A device as a member of its organisation: the chain of trust, its credential, and what it signs.
//
// Guarantees: what was seen of the chain once is in the device file and is not let go of again: a chain that does not
// go on from there is refused. A credential is replaced only by one that has come whole.
//
// Threads: one thread for each device file. All methods but the constructor block.
#ifndef PARLEY_CLIENTS_OPERATOR_MEMBERSHIP_H_
#define PARLEY_CLIENTS_OPERATOR_MEMBERSHIP_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "clients/chain/trust_client.h"
#include "clients/operator/connection.h"
#include "lib/device/device_file.h"
#include "lib/trust/certificate.h"
#include "lib/trust/chain.h"
#include "parley/task/v1/manifest.pb.h"
#include "parley/trust/v1/trust_service.pb.h"

namespace parley::ops {

// Returns the credential in the file of an enrolled device, or the errors of keys::ParseCredential.
absl::StatusOr<keys::Credential> CopyCredential(const device::DeviceFile& file);

// Looks at the chain and returns a certificate that `maker` has made.
using MakeCertificate = std::function<absl::StatusOr<trust::v1::SignedCertificate>(const trust::Chain& chain,
                                                                                   trust::CertificateMaker* maker)>;

class Membership {
 public:
  // `file` is enrolled, and must outlive this. `keyd_address` (host:port) takes the place of the one in the credential
  // unless it is empty.
  explicit Membership(device::DeviceFile* file, std::string keyd_address = "")
      : file_(file), keyd_address_(std::move(keyd_address)) {}

  // Returns a connection for trust::TrustClient's calls, or the errors of trust::ConnectKeyd.
  absl::StatusOr<std::unique_ptr<trust::TrustClient>> Connect() const;

  // Fetches and verifies the whole chain. Returns the errors of trust::TrustClient::FetchChain and of
  // DeviceFile::Update.
  absl::StatusOr<trust::Chain> FetchChain() const;
  // Fetches what is new since `before`; everything if that is null. Returns the errors of FetchChain.
  absl::StatusOr<std::shared_ptr<const trust::Chain>> ExtendChain(trust::TrustClient* keyd,
                                                                  std::shared_ptr<const trust::Chain> before) const;

  // Appends a certificate that `make` makes and this device signs; makes it again if another device was faster. Returns
  // the errors of FetchChain, of `make` and of keyd.
  absl::StatusOr<trust::v1::AppendCertificatesResponse> AppendCertificate(const std::string& reason,
                                                                          const MakeCertificate& make) const;

  // Adds this device's operator signature to a manifest that its task's key has signed, and returns who signed, for
  // people: "alice on Alice's laptop". Returns the errors of FetchChain and of trust::VerifyOperator.
  absl::StatusOr<std::string> SignAsOperator(task::v1::SignedManifest* manifest) const;

  // Puts a new credential into the device file, and returns until when it is good. The former one stays good until its
  // end. Returns the errors of keyd and of DeviceFile::Update.
  absl::StatusOr<absl::Time> RenewCredential(absl::Duration life) const;

 private:
  absl::StatusOr<std::unique_ptr<Connection>> OpenKeyd() const;
  absl::StatusOr<keys::Credential> CredentialForKeyd() const;
  absl::Status Remember(const trust::Chain& chain) const;

  device::DeviceFile* file_;
  std::string keyd_address_;
};

// The membership for a program that runs long. Any thread may call either function.
struct DeviceMembership {
  // Fetches what is new, and returns the chain. Returns the errors of Membership::FetchChain.
  std::function<absl::StatusOr<std::shared_ptr<const trust::Chain>>()> chain;
  // Renews the credential, and returns it. Returns the errors of Membership::RenewCredential.
  std::function<absl::StatusOr<keys::Credential>()> renew;
};
// Connects to the keyd in the credential. `file` must outlive the result. Returns the errors of trust::ConnectKeyd.
absl::StatusOr<DeviceMembership> FollowDeviceMembership(device::DeviceFile* file);

// Finds a user by name or id. Returns NOT_FOUND (MEMBER_NOT_FOUND).
absl::StatusOr<const trust::User*> FindUser(const trust::Chain& chain, const std::string& whom);
// Finds a device by its id, the beginning of its id, or its name; a revoked one only by its id. Returns NOT_FOUND
// (MEMBER_NOT_FOUND), or FAILED_PRECONDITION (MEMBER_AMBIGUOUS).
absl::StatusOr<const trust::Device*> FindDevice(const trust::Chain& chain, const std::string& whom);

}  // namespace parley::ops

#endif  // PARLEY_CLIENTS_OPERATOR_MEMBERSHIP_H_
