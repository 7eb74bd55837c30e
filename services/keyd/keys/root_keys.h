// The organisation's root keys, one for each epoch, and the keyrings of the audiences that are derived from them.
//
// Guarantees: no root is stored that is not sealed; a rotation and its audit entry are one commit, durable before the
// answer.
// Threads: all methods may be called from any thread; those that change or follow the roots block on the store.
#ifndef PARLEY_SERVICES_KEYD_KEYS_ROOT_KEYS_H_
#define PARLEY_SERVICES_KEYD_KEYS_ROOT_KEYS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/base/mutex.h"
#include "lib/base/secret.h"
#include "lib/keys/identity.h"
#include "parley/key/v1/key_service.pb.h"
#include "services/keyd/keys/organisation.h"
#include "services/keyd/store/key_store.h"

namespace parley::keyd {

class RootKeys {
 public:
  // All must outlive the keys. FAILED_PRECONDITION (KEK_WRONG).
  static absl::StatusOr<std::unique_ptr<RootKeys>> Open(const KeyStore* store, const Organisation* organisation);

  // Makes another epoch the primary one, and retires those below `retire_before`. `actor` as in the audit
  // log. INVALID_ARGUMENT (RETIRE_BEFORE).
  absl::Status Rotate(absl::string_view actor, uint32_t retire_before, key::v1::RotateRootResponse* response);
  uint32_t primary_epoch() const { return keyring(keys::kKeyd)->primary_epoch(); }
  // Returns the keyring of taskd, enrolld or keyd, which is kept up to date and lives as long as this.
  const keys::Keyring* keyring(absl::string_view audience) const { return &keyrings_.find(audience)->second; }
  // Calls `use` while no rotation can come in between, with a condition that holds in the store as long as the roots
  // are those of the keyrings. Returns what `use` returns.
  template <typename Use>
  auto WithoutRotation(const Use& use) const {
    MutexLock lock(&mutex_);
    return use(store::Transaction::Condition{kRootsKey, revision_});
  }
  // Returns the message of the roots as they are stored. NOT_FOUND (AUDIENCE_UNKNOWN).
  absl::StatusOr<key::v1::AudienceKeys> AudienceKeysOf(absl::string_view audience,
                                                       const std::string& stored_roots) const;

 private:
  RootKeys(const KeyStore* store, const Organisation* organisation) : store_(store), organisation_(organisation) {}
  // Derives the keyrings from the roots that are stored.
  absl::Status UseStored() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::map<uint32_t, Secret>> OpenAll(const records::RootSet& roots) const;

  const KeyStore* const store_;
  const Organisation* const organisation_;
  std::map<std::string, keys::Keyring, std::less<>> keyrings_;
  mutable Mutex mutex_;
  // The revision of the roots that the keyrings are derived from.
  int64_t revision_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_KEYS_ROOT_KEYS_H_
