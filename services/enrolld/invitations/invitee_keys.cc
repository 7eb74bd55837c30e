#include "services/enrolld/invitations/invitee_keys.h"

#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/crypto/kdf.h"
#include "lib/keys/invitation_link.h"
#include "services/enrolld/domain/names.h"

namespace parley::enrolld {

void InviteeKeys::FillNew(InvitationRecord* record) const {
  record->set_serial(crypto::RandomBytes(keys::kSerialBytes));
  record->set_epoch(keyring_->primary_epoch());
}

absl::StatusOr<Secret> InviteeKeys::Link(const InvitationRecord& record) const {
  keys::InvitationLink link;
  link.address = public_address_;
  link.organisation = organisation_;
  link.invitation = InvitationId(record.invitation());
  link.kind = static_cast<keys::InvitationKind>(record.invitation().kind());
  link.not_after = ToTime(record.invitation().expire_time());
  absl::StatusOr<keys::Keyring::Minted> minted =
      keyring_->Mint({access::v1::ROLE_INVITEE, link.invitation, record.serial(), link.not_after}, record.epoch());
  if (absl::IsNotFound(minted.status())) {
    return Error(absl::StatusCode::kUnavailable, "EPOCH_RETIRED",
                 "the root that this invitation's link was made under is retired; cancel it and invite anew");
  }
  RETURN_IF_ERROR(minted.status());
  link.identity = std::move(minted->identity);
  link.secret = std::move(minted->secret);
  return keys::FormatInvitationLink(link);
}

}  // namespace parley::enrolld
