#include "lib/crypto/aead.h"

#include <openssl/aead.h>
#include <openssl/err.h>

#include <utility>

#include "lib/base/error.h"
#include "lib/crypto/boringssl.h"

namespace parley::crypto {

absl::StatusOr<Aead> Aead::Create(const Secret& key) {
  if (key.size() != kAeadKeyBytes) {
    return InvalidArgument("KEY_LENGTH", "an AEAD key has 32 bytes");
  }
  Context context(EVP_AEAD_CTX_new(EVP_aead_aes_256_gcm_siv(), Bytes(key.Expose()), key.size(), kAeadTagBytes),
                  &EVP_AEAD_CTX_free);
  Require(context != nullptr, "AES-256-GCM-SIV is not available");
  return Aead(std::move(context));
}

std::string Aead::Seal(absl::string_view nonce, absl::string_view plaintext, absl::string_view associated_data) const {
  Require(nonce.size() == kAeadNonceBytes, "an AEAD nonce has 12 bytes");
  std::string sealed(plaintext.size() + kAeadTagBytes, '\0');
  size_t size = 0;
  Require(EVP_AEAD_CTX_seal(context_.get(), MutableBytes(&sealed), &size, sealed.size(), Bytes(nonce), nonce.size(),
                            Bytes(plaintext), plaintext.size(), Bytes(associated_data), associated_data.size()) == 1 &&
              size == sealed.size(),
          "AEAD seal failed");
  return sealed;
}

absl::StatusOr<Secret> Aead::Open(absl::string_view nonce, absl::string_view sealed,
                                  absl::string_view associated_data) const {
  const auto refusal = [] {
    ERR_clear_error();
    return InvalidArgument("NOT_AUTHENTIC", "sealed data is damaged or of another key");
  };
  if (nonce.size() != kAeadNonceBytes || sealed.size() < kAeadTagBytes) return refusal();
  Secret plaintext(sealed.size() - kAeadTagBytes);
  size_t size = 0;
  if (EVP_AEAD_CTX_open(context_.get(), plaintext.mutable_bytes(), &size, plaintext.size(), Bytes(nonce), nonce.size(),
                        Bytes(sealed), sealed.size(), Bytes(associated_data), associated_data.size()) != 1 ||
      size != plaintext.size()) {
    return refusal();
  }
  return plaintext;
}

}  // namespace parley::crypto
