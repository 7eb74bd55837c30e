// The keys that taskd makes: join keys, member keys, and the signing keys of tasks created without one.
//
// A join or member key is minted from what its record holds, so it can be made again and is stored nowhere. A signing
// key's seed is stored, sealed under a key of taskd's own.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_SERVICES_TASKD_PARTICIPANTS_KEY_MAKER_H_
#define PARLEY_SERVICES_TASKD_PARTICIPANTS_KEY_MAKER_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/base/error.h"
#include "lib/base/secret.h"
#include "lib/crypto/aead.h"
#include "lib/crypto/signature.h"
#include "lib/keys/identity.h"
#include "lib/transport/peer.h"
#include "services/taskd/domain/record.pb.h"
#include "services/taskd/store/records.pb.h"
#include "services/taskd/store/task_store.h"

namespace parley::taskd {

class KeyMaker {
 public:
  // `keyring` must outlive this. Returns INVALID_ARGUMENT unless the sealing key has 32 bytes.
  static absl::StatusOr<KeyMaker> Create(const keys::Keyring* keyring, const Secret& sealing_key,
                                         std::string public_address);

  // Finds out whether the sealing key is the one that this store was begun with; the first process to ask begins it.
  // Returns FAILED_PRECONDITION (SEALING_KEY_DIFFERS) if it is another one; the errors of the store.
  absl::Status CheckSealingKey(const TaskStore& store) const;

  // Writes the serial, the epoch and the end of a new key into the record.
  void FillNew(absl::Time not_after, ParticipantRecord* record) const;
  // Returns a join key that ends with the key of its maker at the latest.
  JoinKeyRecord NewJoinKey(absl::string_view task, absl::Time now, absl::Time not_after,
                           const transport::KeyInfo& maker) const;

  // Returns UNAVAILABLE (EPOCH_RETIRED) if the root that the key was made under is retired.
  absl::StatusOr<keys::Keyring::Minted> MintMember(absl::string_view task, absl::string_view tag,
                                                   const ParticipantRecord& record) const;
  // Returns whether the root that a member's key was made under is still good.
  bool IsLive(absl::string_view task, absl::string_view tag, const ParticipantRecord& record) const {
    return Reason(MintMember(task, tag, record).status()) != "EPOCH_RETIRED";
  }
  // Returns the key in the form that a person pastes. Returns UNAVAILABLE (EPOCH_RETIRED).
  absl::StatusOr<Secret> FormatJoinKey(absl::string_view task, absl::string_view verification_key,
                                       const JoinKeyRecord& record) const;

  SealedSeed Seal(absl::string_view task, const crypto::SigningKey& key) const;
  // Returns DATA_LOSS (SEED_UNREADABLE) if the sealing key is another one.
  absl::StatusOr<crypto::SigningKey> Open(absl::string_view task, const SealedSeed& seed) const;

 private:
  bool Opens(absl::string_view name, const SealedSeed& seed) const;
  KeyMaker(const keys::Keyring* keyring, crypto::Aead aead, std::string public_address);
  absl::StatusOr<keys::Keyring::Minted> Mint(const keys::Claims& claims, uint32_t epoch) const;

  const keys::Keyring* keyring_;
  crypto::Aead aead_;
  std::string public_address_;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_PARTICIPANTS_KEY_MAKER_H_
