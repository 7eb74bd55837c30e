// The door's view of one audience's keys: who an identity stands for, and what its holder must be able to prove.
//
// Guarantees: an unknown, expired or revoked identity costs the same cryptography as a good one, and the caller
// learns nothing but an error. Answers from memory; memory grows with the revocations that have not expired, not
// with the keys.
//
// Threads: all methods may be called from any thread. Does not close connections that are already open: whoever
// revokes also calls Listener::CloseKey.
#ifndef PARLEY_LIB_KEYS_KEY_SOURCE_H_
#define PARLEY_LIB_KEYS_KEY_SOURCE_H_

#include <functional>
#include <string>
#include <unordered_map>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/keys/identity.h"
#include "lib/transport/peer.h"

namespace parley::keys {

class AudienceKeySource final : public transport::KeySource {
 public:
  // A further refusal, such as a revocation that only this service knows. Called in the middle of a handshake, on
  // several threads: answers from memory. The status goes into no message.
  using Refusal = std::function<absl::Status(const Claims&)>;
  // Serial (16 bytes) to the not_after of its key.
  using Revocations = std::unordered_map<std::string, absl::Time>;

  // `keyring` and `clock` must outlive this.
  AudienceKeySource(const Keyring* keyring, const Clock* clock, Refusal refusal = nullptr);

  // UNAUTHENTICATED with reason KEY_UNKNOWN, KEY_EXPIRED or KEY_REVOKED, or the refusal's error.
  // KeyInfo.key_id is the serial in hex.
  absl::StatusOr<Key> Find(absl::string_view identity, Want want) override;

  // Refuses the serial from now on. Forgotten a day after `not_after`, when its key has ended anyway. Repeating it
  // changes nothing.
  void Revoke(absl::string_view serial, absl::Time not_after);
  // Forgets all revocations but these: after the whole list was read anew.
  void ReplaceRevocations(Revocations revocations);
  bool IsRevoked(absl::string_view serial) const;
  // How many are remembered.
  size_t revocations() const;

 private:
  absl::Status Check(const Claims& claims) const;
  void ForgetExpired() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Keyring* const keyring_;
  const Clock* const clock_;
  const Refusal refusal_;
  // What is derived from when there is no key.
  const Secret decoy_;
  mutable Mutex mutex_;
  Revocations revocations_ ABSL_GUARDED_BY(mutex_);
  // How many there may be before it is worth looking for expired ones.
  size_t sweep_at_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace parley::keys

#endif  // PARLEY_LIB_KEYS_KEY_SOURCE_H_
