// SHA-256 and HMAC-SHA-256 (FIPS 180-4, RFC 2104).
//
// Threads: free functions without state; a Sha256Stream belongs to one thread at a time.
#ifndef PARLEY_LIB_CRYPTO_HASH_H_
#define PARLEY_LIB_CRYPTO_HASH_H_

#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "lib/base/secret.h"

// BoringSSL's, so that this header needs none of its headers.
struct sha256_state_st;

namespace parley::crypto {

inline constexpr size_t kSha256Bytes = 32;

// Returns 32 bytes.
std::string Sha256(absl::string_view bytes);
std::string HmacSha256(const Secret& key, absl::string_view bytes);

// Computes the SHA-256 of bytes that come in pieces.
class Sha256Stream {
 public:
  Sha256Stream();
  void Update(absl::string_view bytes);
  // Returns 32 bytes. The stream must not be used afterwards.
  std::string Finish();

 private:
  std::unique_ptr<sha256_state_st, void (*)(sha256_state_st*)> state_;
};

}  // namespace parley::crypto

#endif  // PARLEY_LIB_CRYPTO_HASH_H_
