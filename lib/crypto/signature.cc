#include "lib/crypto/signature.h"

#include <openssl/curve25519.h>
#include <openssl/err.h>

#include <utility>

#include "lib/base/error.h"
#include "lib/crypto/boringssl.h"
#include "lib/crypto/kdf.h"

namespace parley::crypto {

static_assert(kSignatureBytes == ED25519_SIGNATURE_LEN && kVerificationKeyBytes == ED25519_PUBLIC_KEY_LEN);

SigningKey::SigningKey(Secret seed, Secret expanded, std::string verification_key)
    : seed_(std::move(seed)), expanded_(std::move(expanded)), verification_key_(std::move(verification_key)) {}

SigningKey SigningKey::Generate() { return *FromSeed(RandomSecret(kSigningSeedBytes)); }

absl::StatusOr<SigningKey> SigningKey::FromSeed(const Secret& seed) {
  if (seed.size() != kSigningSeedBytes) {
    return InvalidArgument("KEY_LENGTH", "the seed of a signing key has 32 bytes");
  }
  Secret expanded(ED25519_PRIVATE_KEY_LEN);
  std::string verification_key(kVerificationKeyBytes, '\0');
  ED25519_keypair_from_seed(MutableBytes(&verification_key), expanded.mutable_bytes(), Bytes(seed.Expose()));
  return SigningKey(seed.Clone(), std::move(expanded), std::move(verification_key));
}

std::string SigningKey::Sign(absl::string_view message) const {
  std::string signature(kSignatureBytes, '\0');
  Require(ED25519_sign(MutableBytes(&signature), Bytes(message), message.size(), Bytes(expanded_.Expose())) == 1,
          "Ed25519 failed");
  return signature;
}

bool VerifySignature(absl::string_view verification_key, absl::string_view message, absl::string_view signature) {
  if (verification_key.size() != kVerificationKeyBytes || signature.size() != kSignatureBytes) return false;
  const bool good = ED25519_verify(Bytes(message), message.size(), Bytes(signature), Bytes(verification_key)) == 1;
  ERR_clear_error();
  return good;
}

}  // namespace parley::crypto
