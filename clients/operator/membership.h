// A device as a member of its organisation: the chain of trust, its credential, and what it signs.
//
// Guarantees: what was seen of the chain once is in the device file and is not let go of again: a chain that does not
// go on from there is refused. A credential is replaced only by one that has come whole.
//
// Threads: as any value; two threads must not use one device file at once. All methods but the constructor block.
#ifndef PARLEY_CLIENTS_OPERATOR_MEMBERSHIP_H_
#define PARLEY_CLIENTS_OPERATOR_MEMBERSHIP_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

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

// Returns the credential in the file, which must be enrolled. The errors are those of keys::ParseCredential.
absl::StatusOr<keys::Credential> CopyCredential(const device::DeviceFile& file);

// Looks at the chain and adds certificates that `maker` makes.
using MakeCertificates = std::function<absl::Status(const trust::Chain& chain, trust::CertificateMaker* maker,
                                                    std::vector<trust::v1::SignedCertificate>* certificates)>;

class Membership {
 public:
  // `file` is enrolled, and must outlive this. `keyd_address` (host:port) takes the place of the one in the credential
  // unless it is empty.
  explicit Membership(device::DeviceFile* file, std::string keyd_address = "")
      : file_(file), keyd_address_(std::move(keyd_address)) {}

  // Returns a connection for trust::TrustClient's calls. The errors are those of trust::ConnectKeyd.
  absl::StatusOr<std::unique_ptr<trust::TrustClient>> Connect() const;

  // Fetches and verifies the whole chain. The errors are those of trust::TrustClient::FetchChain and of
  // DeviceFile::Update.
  absl::StatusOr<trust::Chain> FetchChain() const;
  // Fetches what is new. Where `before` is null, that is the whole chain. The errors are those of FetchChain.
  absl::StatusOr<std::shared_ptr<const trust::Chain>> ExtendChain(trust::TrustClient* keyd,
                                                                  std::shared_ptr<const trust::Chain> before) const;

  // Signs by this device what `make` states after the newest certificate, and appends it; again where another device
  // was faster. The errors are those of FetchChain, of `make` and of keyd.
  absl::StatusOr<trust::v1::AppendCertificatesResponse> AppendCertificates(const std::string& reason,
                                                                           const MakeCertificates& make) const;

  // Adds this device's operator signature to a manifest that its task's key has signed, and returns who signed, for
  // people: "alice on Alice's laptop". The errors are those of FetchChain and of trust::VerifyOperator.
  absl::StatusOr<std::string> SignAsOperator(task::v1::SignedManifest* manifest) const;

  // Puts a new credential into the device file, and returns until when it is good. The former one stays good until its
  // end. The errors are those of keyd and of DeviceFile::Update.
  absl::StatusOr<absl::Time> RenewCredential(absl::Duration life) const;

 private:
  absl::StatusOr<std::unique_ptr<Connection>> OpenKeyd() const;
  absl::StatusOr<keys::Credential> CredentialForKeyd() const;
  absl::Status Remember(const trust::Chain& chain) const;

  device::DeviceFile* file_;
  std::string keyd_address_;
};

// The membership for a program that runs long. Any thread may call either.
struct DeviceMembership {
  // Fetches what is new. The errors are those of Membership::FetchChain.
  std::function<absl::StatusOr<std::shared_ptr<const trust::Chain>>()> chain;
  // Renews the credential and returns it. The errors are those of Membership::RenewCredential.
  std::function<absl::StatusOr<keys::Credential>()> renew;
};
// Connects to the keyd in the credential. `file` must outlive the result. The errors are those of trust::ConnectKeyd.
absl::StatusOr<DeviceMembership> FollowDeviceMembership(device::DeviceFile* file);

// Finds a user by name or id. The error is NOT_FOUND (MEMBER_NOT_FOUND).
absl::StatusOr<const trust::User*> FindUser(const trust::Chain& chain, const std::string& whom);
// Finds a device by its id, the beginning of its id, or its name; a revoked one only by its id. The errors are
// NOT_FOUND (MEMBER_NOT_FOUND) and FAILED_PRECONDITION (MEMBER_AMBIGUOUS).
absl::StatusOr<const trust::Device*> FindDevice(const trust::Chain& chain, const std::string& whom);

}  // namespace parley::ops

#endif  // PARLEY_CLIENTS_OPERATOR_MEMBERSHIP_H_
