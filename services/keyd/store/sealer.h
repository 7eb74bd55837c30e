// Secrets at rest: AES-256-GCM-SIV under a key-encryption key (KEK) that is kept outside the store.
//
//   sealed = AEAD(HKDF(kek, "parley v1 keyd seal"), random nonce, secret, "parley v1 sealed" ‖ 0 ‖ purpose)
//
// The purpose names what the secret is and whose, so that one sealed secret cannot be put in another's place.
#ifndef PARLEY_SERVICES_KEYD_STORE_SEALER_H_
#define PARLEY_SERVICES_KEYD_STORE_SEALER_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/base/secret.h"
#include "lib/crypto/aead.h"
#include "services/keyd/store/records.pb.h"

namespace parley::keyd {

inline constexpr size_t kKekBytes = 32;

// Threads: const methods may be called at once.
class Sealer {
 public:
  // INVALID_ARGUMENT unless the KEK has 32 bytes.
  static absl::StatusOr<Sealer> Create(const Secret& kek);

  records::Sealed Seal(const Secret& secret, absl::string_view purpose) const;
  // FAILED_PRECONDITION (KEK_WRONG) when another KEK, or for another purpose, sealed it.
  absl::StatusOr<Secret> Open(const records::Sealed& sealed, absl::string_view purpose) const;

 private:
  explicit Sealer(crypto::Aead aead) : aead_(std::move(aead)) {}
  crypto::Aead aead_;
};

// Reads the KEK of a file: 32 bytes, or 64 hex digits and white space after them. Returns the errors of ReadSecretFile,
// or INVALID_ARGUMENT (KEK_MALFORMED).
absl::StatusOr<Secret> ReadKek(const std::string& path);

// Makes a new KEK and writes it in hex. Returns the errors of WriteSecretFile.
absl::StatusOr<Secret> MakeKek(const std::string& path);

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_STORE_SEALER_H_
