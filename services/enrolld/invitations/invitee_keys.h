// Mints the keys in invitations' links. A key follows from what its record holds, so it can be made again and is stored
// nowhere.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_SERVICES_ENROLLD_INVITATIONS_INVITEE_KEYS_H_
#define PARLEY_SERVICES_ENROLLD_INVITATIONS_INVITEE_KEYS_H_

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "lib/base/secret.h"
#include "lib/keys/identity.h"
#include "services/enrolld/domain/record.pb.h"

namespace parley::enrolld {

class InviteeKeys {
 public:
  // `keyring` is the one of the audience enrolld. It must outlive this.
  InviteeKeys(const keys::Keyring* keyring, std::string organisation, std::string public_address)
      : keyring_(keyring), organisation_(std::move(organisation)), public_address_(std::move(public_address)) {}

  // Writes the serial and the epoch of a new key into the record.
  void FillNew(InvitationRecord* record) const;
  // Returns the link, or UNAVAILABLE (EPOCH_RETIRED) if the root that the key was made under is retired.
  absl::StatusOr<Secret> Link(const InvitationRecord& record) const;

 private:
  const keys::Keyring* const keyring_;
  const std::string organisation_;
  const std::string public_address_;
};

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_INVITATIONS_INVITEE_KEYS_H_
