// BoringSSL's argument types from ours. Private to lib/crypto.
#ifndef PARLEY_LIB_CRYPTO_BORINGSSL_H_
#define PARLEY_LIB_CRYPTO_BORINGSSL_H_

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <string>

#include "absl/strings/string_view.h"

namespace parley::crypto {

inline const uint8_t* Bytes(absl::string_view text) { return reinterpret_cast<const uint8_t*>(text.data()); }
inline uint8_t* MutableBytes(std::string* text) { return reinterpret_cast<uint8_t*>(text->data()); }

// For calls that fail only when memory is out or the caller broke a contract: to go on would be to go on without
// cryptography.
inline void Require(bool condition, const char* what) {
  if (condition) return;
  fprintf(stderr, "lib/crypto: %s\n", what);
  abort();
}

}  // namespace parley::crypto

#endif  // PARLEY_LIB_CRYPTO_BORINGSSL_H_
