// Converts our types to BoringSSL's argument types. Private to lib/crypto.
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

// Ends the process unless `condition` holds. For calls that fail only without memory, or when the caller broke a
// contract: to go on would be to go on without cryptography.
inline void Require(bool condition, const char* what) {
  if (condition) return;
  fprintf(stderr, "lib/crypto: %s\n", what);
  abort();
}

}  // namespace parley::crypto

#endif  // PARLEY_LIB_CRYPTO_BORINGSSL_H_
