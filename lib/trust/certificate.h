// Makes certificates: what the holder of a device key states about users and devices, in the bytes that are signed
// (docs/protocol/certificates.md). Chain says whether a statement keeps the chain's rules.
//
// Threads: free functions without state; a CertificateMaker belongs to one thread at a time.
#ifndef PARLEY_LIB_TRUST_CERTIFICATE_H_
#define PARLEY_LIB_TRUST_CERTIFICATE_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/crypto/signature.h"
#include "lib/trust/chain.h"

namespace parley::trust {

struct NewUser {
  // 16 random bytes: NewId().
  std::string id;
  std::string name;
  access::v1::Role role = access::v1::ROLE_UNSPECIFIED;
  // An X25519 public key.
  std::string encryption_key;
};

struct NewDevice {
  // 16 random bytes: NewId().
  std::string id;
  std::string label;
  // An Ed25519 public key.
  std::string verification_key;
};

// Returns an id for a user or a device.
std::string NewId();
// Turn ids into "users/{32 hex digits}" and "devices/{32 hex digits}", and back; no value for what is no such name.
std::string UserName(absl::string_view id);
std::string DeviceName(absl::string_view id);
std::optional<std::string> ParseUserName(absl::string_view name);
std::optional<std::string> ParseDeviceName(absl::string_view name);

// Return whether the chain would take it: a user's name has 1 to 48 of [a-z0-9._-], a label 1 to 64 bytes of UTF-8
// without control characters.
bool IsUserName(absl::string_view name);
bool IsDeviceLabel(absl::string_view label);

// Parses the bytes in the way of every decoder. Checks the form, and not the chain. Returns INVALID_ARGUMENT
// (CHAIN_MALFORMED).
absl::StatusOr<v1::Certificate> ParseCertificate(const v1::SignedCertificate& certificate);
// Returns the hash of the whole certificate, which the next one names as previous_hash.
std::string HashOf(const v1::SignedCertificate& certificate);
// Signs with Ed25519 over "parley certificate v1" ‖ 0 ‖ bytes.
v1::SignedCertificate SignCertificate(const v1::Certificate& certificate, const crypto::SigningKey& key);

// Certificates that follow a chain's head, one after another, by one device.
//
//   CertificateMaker maker(chain, my_device_id, &my_signing_key, clock.Now());
//   certificates = {maker.AddUser(user), maker.AddDevice(user.id, device)};
class CertificateMaker {
 public:
  // `key` must outlive this. Each certificate's time is `now`, or just after the one before if that is later.
  CertificateMaker(const Chain& chain, std::string author_device, const crypto::SigningKey* key, absl::Time now);

  v1::SignedCertificate AddUser(const NewUser& user);
  v1::SignedCertificate AddDevice(absl::string_view user, const NewDevice& device);
  v1::SignedCertificate ChangeRole(absl::string_view user, access::v1::Role role);
  v1::SignedCertificate RevokeUser(absl::string_view user);
  v1::SignedCertificate RevokeDevice(absl::string_view device);

 private:
  friend struct Founding;
  CertificateMaker(std::string author_device, const crypto::SigningKey* key, absl::Time now, Head head,
                   absl::Time last_time);
  v1::SignedCertificate Sign(v1::Certificate certificate);

  const std::string author_device_;
  const crypto::SigningKey* const key_;
  const absl::Time now_;
  Head head_;
  absl::Time last_time_;
};

// The beginning of a chain. The root's private key exists only inside Make.
struct Founding {
  std::string root_verification_key;
  // The certificates of the first admin and its device.
  std::vector<v1::SignedCertificate> certificates;

  static Founding Make(const NewUser& admin, const NewDevice& device, absl::Time now);
};

}  // namespace parley::trust

#endif  // PARLEY_LIB_TRUST_CERTIFICATE_H_
