#include "lib/crypto/kdf.h"

#include <openssl/digest.h>
#include <openssl/hkdf.h>
#include <openssl/rand.h>

#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/crypto/boringssl.h"

namespace parley::crypto {

Secret Hkdf(const Secret& secret, absl::string_view info, size_t size) {
  Secret out(size);
  Require(HKDF(out.mutable_bytes(), size, EVP_sha256(), Bytes(secret.Expose()), secret.size(), nullptr, 0, Bytes(info),
               info.size()) == 1,
          "HKDF was asked for more than 8160 bytes");
  return out;
}

Secret RandomSecret(size_t size) {
  Secret out(size);
  RAND_bytes(out.mutable_bytes(), size);  // Aborts the process rather than fail.
  return out;
}

std::string RandomBytes(size_t size) {
  std::string out(size, '\0');
  RAND_bytes(MutableBytes(&out), size);
  return out;
}

std::string RandomUuid() {
  std::string bytes = RandomBytes(16);
  bytes[6] = static_cast<char>((bytes[6] & 0x0F) | 0x40);
  bytes[8] = static_cast<char>((bytes[8] & 0x3F) | 0x80);
  const std::string hex = HexEncode(bytes);
  const absl::string_view digits = hex;
  return absl::StrCat(digits.substr(0, 8), "-", digits.substr(8, 4), "-", digits.substr(12, 4), "-",
                      digits.substr(16, 4), "-", digits.substr(20));
}

}  // namespace parley::crypto
