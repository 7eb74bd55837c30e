// The door's view of one audience's keys: whom an identity stands for, and what its holder must be able to prove.
//
// Guarantees: an unknown, expired or revoked identity costs the same cryptography as a good one, and the caller learns
// nothing but an error. The source answers from memory, which grows with the revocations that have not expired, not
// with the keys. It does not close connections that are already open: the caller of Revoke also calls
// Listener::CloseKey.
//
// Threads: all methods may be called from any thread.
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
  // Says whether anybody is admitted: not by a service that has lost keyd for too long. It is called in the middle of a
  // handshake, on several threads, and so must answer from memory. Its status goes into no message.
  using CheckAdmits = std::function<absl::Status()>;

  // `keyring` and `clock` must outlive this.
  AudienceKeySource(const Keyring* keyring, const Clock* clock, CheckAdmits check_admits = nullptr);

  // Returns the key; KeyInfo.key_id is the serial in hex. Returns UNAUTHENTICATED: KEY_UNKNOWN, KEY_EXPIRED,
  // KEY_REVOKED, or the error of `check_admits`.
  absl::StatusOr<Key> Find(absl::string_view identity, Want want) override;
  bool Admits() const override { return check_admits_ == nullptr || check_admits_().ok(); }

  // Refuses the serial from now on. The source forgets it a day after `not_after`, when its key has ended anyway.
  // Repeating it changes nothing.
  void Revoke(absl::string_view serial, absl::Time not_after);
  bool IsRevoked(absl::string_view serial) const;
  // Returns the number of revocations that are remembered.
  size_t revocations() const;

 private:
  absl::Status Check(const Claims& claims) const;
  void ForgetExpired() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Keyring* const keyring_;
  const Clock* const clock_;
  const CheckAdmits check_admits_;
  // Keys are derived from this when there is none, so that the work is the same.
  const Secret decoy_;
  mutable Mutex mutex_;
  // Serial (16 bytes) to the not_after of its key.
  std::unordered_map<std::string, absl::Time> revocations_ ABSL_GUARDED_BY(mutex_);
  // The number of revocations from which it is worth looking for expired ones.
  size_t sweep_at_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace parley::keys

#endif  // PARLEY_LIB_KEYS_KEY_SOURCE_H_
