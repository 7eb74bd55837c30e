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

  // Takes over the roots that stand in the store at `revision`, unless newer ones are known. Returns what is new of
  // them. FAILED_PRECONDITION (KEK_WRONG).
  enum class News { kNothing, kMore, kRetired };
  absl::StatusOr<News> Use(const records::RootSet& roots, int64_t revision);
  // Takes over those that stand there now. The errors of Use, and of the store.
  absl::Status Refresh();
  // Makes another epoch the primary one, and retires those below `retire_before`. `actor` as in the audit
  // log. INVALID_ARGUMENT (RETIRE_BEFORE).
  absl::Status Rotate(absl::string_view actor, uint32_t retire_before, key::v1::RotateRootResponse* response);
  uint32_t primary_epoch() const { return keyring(keys::kKeyd)->primary_epoch(); }
  // Returns the keyring of taskd, enrolld or keyd, which is kept up to date and lives as long as this.
  const keys::Keyring* keyring(absl::string_view audience) const { return &keyrings_.find(audience)->second; }
  // The primary epoch, and a condition that holds in the store for as long as that is so.
  struct Primary {
    uint32_t epoch = 0;
    store::Transaction::Condition unchanged;
  };
  Primary primary() const {
    MutexLock lock(&mutex_);
    return {primary_epoch(), {kRootsKey, revision_}};
  }
  // Returns the message of the roots as they are stored. NOT_FOUND (AUDIENCE_UNKNOWN).
  absl::StatusOr<key::v1::AudienceKeys> AudienceKeysOf(absl::string_view audience,
                                                       const std::string& stored_roots) const;

 private:
  RootKeys(const KeyStore* store, const Organisation* organisation) : store_(store), organisation_(organisation) {}
  absl::Status TryRotate(absl::string_view actor, uint32_t retire_before, key::v1::RotateRootResponse* response);
  absl::StatusOr<std::map<uint32_t, Secret>> OpenAll(const records::RootSet& roots) const;

  const KeyStore* const store_;
  const Organisation* const organisation_;
  std::map<std::string, keys::Keyring, std::less<>> keyrings_;
  mutable Mutex mutex_;
  // The revision of the roots that the keyrings are derived from.
  int64_t revision_ ABSL_GUARDED_BY(mutex_) = 0;
  uint32_t oldest_epoch_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_KEYS_ROOT_KEYS_H_
