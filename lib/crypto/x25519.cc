#include "lib/crypto/x25519.h"

#include <openssl/curve25519.h>

#include <utility>

#include "lib/base/error.h"
#include "lib/crypto/boringssl.h"
#include "lib/crypto/kdf.h"

namespace parley::crypto {

static_assert(kX25519Bytes == X25519_PRIVATE_KEY_LEN && kX25519Bytes == X25519_PUBLIC_VALUE_LEN &&
              kX25519Bytes == X25519_SHARED_KEY_LEN);

AgreementKey::AgreementKey(Secret private_key, std::string public_key)
    : private_key_(std::move(private_key)), public_key_(std::move(public_key)) {}

AgreementKey AgreementKey::Generate() { return *FromBytes(RandomSecret(kX25519Bytes)); }

absl::StatusOr<AgreementKey> AgreementKey::FromBytes(const Secret& private_key) {
  if (private_key.size() != kX25519Bytes) {
    return InvalidArgument("KEY_LENGTH", "an X25519 private key has 32 bytes");
  }
  std::string public_key(kX25519Bytes, '\0');
  X25519_public_from_private(MutableBytes(&public_key), Bytes(private_key.Expose()));
  return AgreementKey(private_key.Clone(), std::move(public_key));
}

absl::StatusOr<Secret> AgreementKey::Agree(absl::string_view peer_public_key) const {
  if (peer_public_key.size() != kX25519Bytes) {
    return InvalidArgument("KEY_LENGTH", "an X25519 public key has 32 bytes");
  }
  Secret shared(kX25519Bytes);
  // BoringSSL fails exactly when the result is all zero, which is what points of small order give.
  if (X25519(shared.mutable_bytes(), Bytes(private_key_.Expose()), Bytes(peer_public_key)) != 1) {
    return InvalidArgument("SMALL_ORDER",
                           "the other side's key is a point of small order, which would leave nothing secret");
  }
  return shared;
}

bool IsCanonicalPoint(absl::string_view public_key) {
  if (public_key.size() != kX25519Bytes) return false;
  const uint8_t* bytes = Bytes(public_key);
  // 2^255 - 19 is 0x7FFF...FFED, here with the lowest byte first.
  if (bytes[31] > 0x7F) return false;
  if (bytes[31] < 0x7F) return true;
  for (size_t i = 30; i > 0; --i) {
    if (bytes[i] != 0xFF) return true;
  }
  return bytes[0] < 0xED;
}

}  // namespace parley::crypto
