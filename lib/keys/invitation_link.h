// The link of an invitation as a person pastes it: "parley://claim/pri1." + groups of base 32 with check letters. A
// wrong letter is caught before anything is sent, and the client itself names an expired link (docs/protocol/keys.md).
#ifndef PARLEY_LIB_KEYS_INVITATION_LINK_H_
#define PARLEY_LIB_KEYS_INVITATION_LINK_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/secret.h"

namespace parley::keys {

// What an invitation enrols. The numbers are those of docs/protocol/sas.md and of parley.enrol.v1.Invitation.Kind.
enum class InvitationKind : uint8_t { kUser = 1, kDevice = 2 };

struct InvitationLink {
  // The address of enrolld, "host:port" of at most 255 bytes.
  std::string address;
  // 1 to 64 printable ASCII characters.
  std::string organisation;
  // 32 hex digits. With "invitations/" before them they are the invitation's name; alone they are Context::invitation
  // of lib/sas.
  std::string invitation;
  InvitationKind kind = InvitationKind::kUser;
  // The invitee's key for enrolld.
  std::string identity;
  Secret secret;
  absl::Time not_after;
};

// Returns INVALID_ARGUMENT (INVITATION_LINK_FIELDS) for a field that does not fit.
absl::StatusOr<Secret> FormatInvitationLink(const InvitationLink& link);

// Parses a link. "parley://claim/" may be missing, white space is ignored anywhere, letters may have either case.
// Returns INVALID_ARGUMENT: INVITATION_LINK_NOT_ONE, INVITATION_LINK_TYPO (which names the wrong group where it can),
// INVITATION_LINK_INCOMPLETE, INVITATION_LINK_VERSION; FAILED_PRECONDITION (INVITATION_LINK_EXPIRED) with the time.
absl::StatusOr<InvitationLink> ParseInvitationLink(const Secret& pasted, absl::Time now);

}  // namespace parley::keys

#endif  // PARLEY_LIB_KEYS_INVITATION_LINK_H_
