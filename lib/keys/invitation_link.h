// The link of an invitation as a person pastes it: "parley://claim/pri1." + groups of base 32 with check letters, so
// that a wrong letter is caught before anything is sent, and an expired link is named by the client itself.
// docs/protocol/keys.md.
#ifndef PARLEY_LIB_KEYS_INVITATION_LINK_H_
#define PARLEY_LIB_KEYS_INVITATION_LINK_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/secret.h"

namespace parley::keys {

// What an invitation enrols; the numbers are those of docs/protocol/sas.md and of parley.enrol.v1.Invitation.Kind.
enum class InvitationKind : uint8_t { kUser = 1, kDevice = 2 };

struct InvitationLink {
  // host:port of enrolld, at most 255 bytes.
  std::string address;
  // 1 to 64 printable ASCII characters.
  std::string organisation;
  // 32 hex digits; "invitations/" and these are its name, and these alone are lib/sas's Context::invitation.
  std::string invitation;
  InvitationKind kind = InvitationKind::kUser;
  // The invitee's key for enrolld.
  std::string identity;
  Secret secret;
  absl::Time not_after;
};

// INVALID_ARGUMENT (INVITATION_LINK_FIELDS) for a field that does not fit.
absl::StatusOr<Secret> FormatInvitationLink(const InvitationLink& link);

// "parley://claim/" may be missing, white space anywhere is ignored, letters may have either case. INVALID_ARGUMENT
// with reason INVITATION_LINK_NOT_ONE, INVITATION_LINK_TYPO (names the group that is wrong where it can),
// INVITATION_LINK_INCOMPLETE, INVITATION_LINK_VERSION; FAILED_PRECONDITION with INVITATION_LINK_EXPIRED and the time.
absl::StatusOr<InvitationLink> ParseInvitationLink(const Secret& pasted, absl::Time now);

}  // namespace parley::keys

#endif  // PARLEY_LIB_KEYS_INVITATION_LINK_H_
