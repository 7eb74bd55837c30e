// AES-256-GCM-SIV (RFC 8452): what it seals can be neither read nor changed. A nonce that is used twice shows only that
// the same plaintext was sealed twice.
#ifndef PARLEY_LIB_CRYPTO_AEAD_H_
#define PARLEY_LIB_CRYPTO_AEAD_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/base/secret.h"

// BoringSSL's, so that this header needs none of its headers.
struct evp_aead_ctx_st;

namespace parley::crypto {

inline constexpr size_t kAeadKeyBytes = 32;
inline constexpr size_t kAeadNonceBytes = 12;
inline constexpr size_t kAeadTagBytes = 16;

// One key.
//
// Threads: Seal and Open may be called from several threads at once.
class Aead {
 public:
  // Returns INVALID_ARGUMENT unless the key has 32 bytes.
  static absl::StatusOr<Aead> Create(const Secret& key);

  // Returns plaintext.size() + 16 bytes. `nonce` has 12.
  std::string Seal(absl::string_view nonce, absl::string_view plaintext, absl::string_view associated_data) const;
  // Returns INVALID_ARGUMENT, always with the same sentence, if anything differs from what was sealed.
  absl::StatusOr<Secret> Open(absl::string_view nonce, absl::string_view sealed,
                              absl::string_view associated_data) const;

 private:
  using Context = std::unique_ptr<evp_aead_ctx_st, void (*)(evp_aead_ctx_st*)>;
  explicit Aead(Context context) : context_(std::move(context)) {}

  Context context_;
};

}  // namespace parley::crypto

#endif  // PARLEY_LIB_CRYPTO_AEAD_H_
