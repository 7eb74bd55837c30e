// Names of invitations and of their states, and the errors that follow from these.
#ifndef PARLEY_SERVICES_ENROLLD_DOMAIN_NAMES_H_
#define PARLEY_SERVICES_ENROLLD_DOMAIN_NAMES_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "parley/enrol/v1/invitation_service.pb.h"

namespace parley::enrolld {

inline constexpr absl::string_view kLockedSentence =
    "it is locked after three suspected attacks; find out who has the link, and invite anew";

// Returns "invitations/{id}", with an id of 32 hex digits.
std::string InvitationName(absl::string_view id);
// Returns the id, or INVALID_ARGUMENT (NAME_MALFORMED).
absl::StatusOr<std::string> ParseInvitationName(absl::string_view name);
// Returns the id in a record, whose name is well-formed.
std::string InvitationId(const enrol::v1::Invitation& invitation);

// Returns "completed" for STATE_COMPLETED and so on.
std::string StateNoun(enrol::v1::Invitation::State state);
// Returns "INVITATION_COMPLETED" for STATE_COMPLETED and so on.
std::string StateReason(enrol::v1::Invitation::State state);
// Returns FAILED_PRECONDITION with StateReason, for an invitation that is not pending.
absl::Status EndedError(const enrol::v1::Invitation& invitation);

// Returns NOT_FOUND (INVITATION_NOT_FOUND).
absl::Status NoInvitation(absl::string_view name);

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_DOMAIN_NAMES_H_
