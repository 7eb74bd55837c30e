#include "lib/crypto/hash.h"

#include <openssl/digest.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "lib/crypto/boringssl.h"

namespace parley::crypto {

std::string Sha256(absl::string_view bytes) {
  std::string digest(kSha256Bytes, '\0');
  SHA256(Bytes(bytes), bytes.size(), MutableBytes(&digest));
  return digest;
}

std::string HmacSha256(const Secret& key, absl::string_view bytes) {
  std::string mac(kSha256Bytes, '\0');
  // BoringSSL takes a null key as "the key of the call before".
  static constexpr uint8_t kEmpty = 0;
  const uint8_t* const key_bytes = key.empty() ? &kEmpty : Bytes(key.Expose());
  Require(HMAC(EVP_sha256(), key_bytes, key.size(), Bytes(bytes), bytes.size(), MutableBytes(&mac), nullptr) != nullptr,
          "HMAC failed");
  return mac;
}

Sha256Stream::Sha256Stream() : state_(new SHA256_CTX, [](SHA256_CTX* state) { delete state; }) {
  SHA256_Init(state_.get());
}

void Sha256Stream::Update(absl::string_view bytes) { SHA256_Update(state_.get(), bytes.data(), bytes.size()); }

std::string Sha256Stream::Finish() {
  std::string digest(kSha256Bytes, '\0');
  SHA256_Final(MutableBytes(&digest), state_.get());
  return digest;
}

}  // namespace parley::crypto
