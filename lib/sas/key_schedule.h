// What both sides compute in the same way: transcript, commitment, codes, confirmation MACs, keys. docs/protocol/sas.md
// says why each input is there. Private to lib/sas.
//
// Threads: free functions without state; a Transcript belongs to one thread at a time.
#ifndef PARLEY_LIB_SAS_KEY_SCHEDULE_H_
#define PARLEY_LIB_SAS_KEY_SCHEDULE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/base/secret.h"
#include "lib/sas/message.h"

namespace parley::sas {

// A hash over the context and all messages so far, headers included, in the order of the protocol.
class Transcript {
 public:
  explicit Transcript(const Context& context);
  // Goes on from the hash (32 bytes) in a saved state.
  static Transcript FromHash(absl::string_view hash);
  void Add(absl::string_view message);
  // 32 bytes.
  const std::string& hash() const { return hash_; }

 private:
  explicit Transcript(std::string hash) : hash_(std::move(hash)) {}
  std::string hash_;
};

// Returns HMAC-SHA-256(nonce, context ‖ pk_claimer ‖ pk_greeter).
std::string Commitment(const Secret& nonce, const Context& context, absl::string_view claimer_key,
                       absl::string_view greeter_key);

struct Keys {
  uint32_t greeter_code = 0;
  uint32_t claimer_code = 0;
  Secret confirm_greeter;
  Secret confirm_claimer;
  Secret seal_greeter;
  Secret seal_claimer;
};

// Derives the keys from the agreed secret and the transcript through step 3. `bits_per_letter` is 5 except in tests.
Keys DeriveKeys(const Secret& shared, const Transcript& transcript, int bits_per_letter);

// Seals the payload of steps 6 to 8 with AES-256-GCM-SIV. The nonce is the step, the associated data is the transcript
// so far and the header.
std::string Seal(const Secret& key, const Transcript& transcript, absl::string_view header, int step,
                 const Secret& payload);
// Opens what Seal made. Returns INVALID_ARGUMENT (SAS_SEAL) if anything differs.
absl::StatusOr<Secret> Open(const Secret& key, const Transcript& transcript, absl::string_view header, int step,
                            absl::string_view sealed);

}  // namespace parley::sas

#endif  // PARLEY_LIB_SAS_KEY_SCHEDULE_H_
