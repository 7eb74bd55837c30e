// The credentials that keyd writes for its own host: {folder}/{admin,operator,taskd,enrolld}.credential, mode 0600.
#ifndef PARLEY_SERVICES_KEYD_KEYS_CREDENTIAL_FILES_H_
#define PARLEY_SERVICES_KEYD_KEYS_CREDENTIAL_FILES_H_

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/base/mutex.h"
#include "lib/keys/credential.h"
#include "services/keyd/keys/credentials.h"
#include "services/keyd/keys/root_keys.h"
#include "services/keyd/store/key_store.h"

namespace parley::keyd {

// Threads: all methods may be called from any thread; they block on the store and on files.
class CredentialFiles {
 public:
  // All must outlive this.
  CredentialFiles(std::string folder, const KeyStore* store, const RootKeys* roots, Credentials* credentials)
      : folder_(std::move(folder)), store_(store), roots_(roots), credentials_(credentials) {}

  // Brings the files up to date. The services' are made when missing, under an older root, or within a third of their
  // life from the end, so that a service which reads its file again never runs out; those of people are made at the
  // founding alone, because they are meant to be taken elsewhere. A file whose addresses are no longer the configured
  // ones is written again with the same key. The errors of files.
  absl::Status Update();
  // Makes a new admin.credential, for an organisation that has lost its last one. The errors of files.
  absl::Status MakeAdmin() const { return Make("admin", access::v1::ROLE_ADMIN, /*founding=*/false); }

 private:
  absl::Status UpdateAll() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::string PathOf(absl::string_view name) const;
  // At the founding, which several keyds may do at once, each makes the same.
  absl::Status Make(absl::string_view name, access::v1::Role role, bool founding) const;
  absl::Status UpdateOne(absl::string_view name, access::v1::Role role, bool founding) const;
  absl::Status UpdateAddresses(const std::string& path, keys::Credential credential) const;
  absl::StatusOr<bool> IsGoodForLong(const keys::Credential& credential) const;

  const std::string folder_;
  const KeyStore* const store_;
  const RootKeys* const roots_;
  Credentials* const credentials_;
  // One update at a time, as each may make files.
  Mutex mutex_;
};

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_KEYS_CREDENTIAL_FILES_H_
