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

struct Sha256Stream::Impl {
  SHA256_CTX context;
};

Sha256Stream::Sha256Stream() : impl_(std::make_unique<Impl>()) { SHA256_Init(&impl_->context); }
Sha256Stream::~Sha256Stream() = default;
Sha256Stream::Sha256Stream(Sha256Stream&&) noexcept = default;
Sha256Stream& Sha256Stream::operator=(Sha256Stream&&) noexcept = default;

void Sha256Stream::Update(absl::string_view bytes) { SHA256_Update(&impl_->context, bytes.data(), bytes.size()); }

std::string Sha256Stream::Finish() {
  std::string digest(kSha256Bytes, '\0');
  SHA256_Final(MutableBytes(&digest), &impl_->context);
  return digest;
}

}  // namespace parley::crypto
