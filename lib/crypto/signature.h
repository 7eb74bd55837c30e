// Ed25519 (RFC 8032): signing keys, and the verification of signatures.
//
// Threads: free functions without state; const methods of SigningKey may be called from several threads at once.
#ifndef PARLEY_LIB_CRYPTO_SIGNATURE_H_
#define PARLEY_LIB_CRYPTO_SIGNATURE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/base/secret.h"

namespace parley::crypto {

inline constexpr size_t kSignatureBytes = 64;
inline constexpr size_t kVerificationKeyBytes = 32;
inline constexpr size_t kSigningSeedBytes = 32;

class SigningKey {
 public:
  static SigningKey Generate();
  // Returns INVALID_ARGUMENT unless the seed (RFC 8032's private key) has 32 bytes.
  static absl::StatusOr<SigningKey> FromSeed(const Secret& seed);

  // Returns 64 bytes.
  std::string Sign(absl::string_view message) const;
  // Returns 32 bytes.
  const std::string& verification_key() const { return verification_key_; }
  const Secret& seed() const { return seed_; }

 private:
  SigningKey(Secret seed, Secret expanded, std::string verification_key);
  Secret seed_;
  Secret expanded_;
  std::string verification_key_;
};

// Returns false for anything but a good signature, wrong lengths included.
bool VerifySignature(absl::string_view verification_key, absl::string_view message, absl::string_view signature);

}  // namespace parley::crypto

#endif  // PARLEY_LIB_CRYPTO_SIGNATURE_H_
