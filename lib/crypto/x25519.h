// X25519 (RFC 7748): two sides agree on a secret over public keys.
//
// Points of small order are refused, since they would make the secret one that everyone knows. Other encodings of
// a good point are accepted as the RFC demands; IsCanonicalPoint is for protocols that allow just one.
#ifndef PARLEY_LIB_CRYPTO_X25519_H_
#define PARLEY_LIB_CRYPTO_X25519_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/base/secret.h"

namespace parley::crypto {

inline constexpr size_t kX25519Bytes = 32;

// A key pair.
//
// Threads: const methods may be called from several threads at once.
class AgreementKey {
 public:
  static AgreementKey Generate();
  // Returns INVALID_ARGUMENT (KEY_LENGTH) unless the private key has 32 bytes.
  static absl::StatusOr<AgreementKey> FromBytes(const Secret& private_key);

  // Returns 32 bytes that are not uniform: derive keys from them, and do not use them as a key. Returns
  // INVALID_ARGUMENT: KEY_LENGTH, or SMALL_ORDER for the points that leave nothing secret.
  absl::StatusOr<Secret> Agree(absl::string_view peer_public_key) const;

  // Returns 32 bytes.
  const std::string& public_key() const { return public_key_; }
  const Secret& private_key() const { return private_key_; }

 private:
  AgreementKey(Secret private_key, std::string public_key);
  Secret private_key_;
  std::string public_key_;
};

// Returns whether these are the 32 bytes that an honest AgreementKey has for its public key: a number below 2^255 - 19.
bool IsCanonicalPoint(absl::string_view public_key);

}  // namespace parley::crypto

#endif  // PARLEY_LIB_CRYPTO_X25519_H_
