// Names of invitations, and of how they stand.
#ifndef PARLEY_SERVICES_ENROLLD_DOMAIN_NAMES_H_
#define PARLEY_SERVICES_ENROLLD_DOMAIN_NAMES_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "parley/enrol/v1/invitation_service.pb.h"

namespace parley::enrolld {

inline constexpr absl::string_view kLockedSentence =
    "it is locked after three suspected attacks; find out who has the link, and invite anew";

// "invitations/{id}", of 32 hex digits.
std::string InvitationName(absl::string_view id);
// The id. INVALID_ARGUMENT (NAME_MALFORMED).
absl::StatusOr<std::string> ParseInvitationName(absl::string_view name);
// Of a record, whose name is well-formed.
std::string InvitationId(const enrol::v1::Invitation& invitation);

// "completed" for STATE_COMPLETED and so on.
std::string StateNoun(enrol::v1::Invitation::State state);
// "INVITATION_COMPLETED".
std::string StateReason(enrol::v1::Invitation::State state);
// FAILED_PRECONDITION with StateReason, of an invitation that is not pending.
absl::Status EndedError(const enrol::v1::Invitation& invitation);

// NOT_FOUND (INVITATION_NOT_FOUND).
absl::Status NoInvitation(absl::string_view name);

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_DOMAIN_NAMES_H_
