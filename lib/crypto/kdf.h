// HKDF-SHA-256 (RFC 5869), and the system's random bytes.
#ifndef PARLEY_LIB_CRYPTO_KDF_H_
#define PARLEY_LIB_CRYPTO_KDF_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"
#include "lib/base/secret.h"

namespace parley::crypto {

// Returns `size` bytes (at most 8160) from `secret`, bound to `info`. There is no salt, because all our input keys are
// uniform.
Secret Hkdf(const Secret& secret, absl::string_view info, size_t size);

Secret RandomSecret(size_t size);
std::string RandomBytes(size_t size);
// Returns a UUID of version 4 in its usual text form.
std::string RandomUuid();

}  // namespace parley::crypto

#endif  // PARLEY_LIB_CRYPTO_KDF_H_
