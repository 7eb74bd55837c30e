// The reasons of lib/sas's errors (lib/base/error.h): why an exchange refused something, one for each cause.
// docs/protocol/sas.md lists them with what each says about the other side.
#ifndef PARLEY_LIB_SAS_REASON_H_
#define PARLEY_LIB_SAS_REASON_H_

#include "absl/strings/string_view.h"

namespace parley::sas {

// These show in the bytes of a message, before any cryptography.
inline constexpr absl::string_view kWrongVersion = "SAS_VERSION";
inline constexpr absl::string_view kWrongLength = "SAS_LENGTH";
inline constexpr absl::string_view kOtherOrganisation = "SAS_OTHER_ORGANISATION";
inline constexpr absl::string_view kOtherInvitation = "SAS_OTHER_INVITATION";
inline constexpr absl::string_view kOtherKind = "SAS_OTHER_KIND";
inline constexpr absl::string_view kOtherAttempt = "SAS_OTHER_ATTEMPT";
inline constexpr absl::string_view kWrongRole = "SAS_ROLE";
inline constexpr absl::string_view kWrongStep = "SAS_STEP";
// The claimer confirmed before the greeter's code was shown to anyone, so a code was guessed.
inline constexpr absl::string_view kTooEarly = "SAS_TOO_EARLY";
// The same bytes came again. This is the only refusal that leaves the exchange unchanged.
inline constexpr absl::string_view kReplayed = "SAS_REPLAYED";
// Other bytes came for a step that is done.
inline constexpr absl::string_view kChanged = "SAS_CHANGED";

// These are found by cryptography and by people.
inline constexpr absl::string_view kSmallOrder = "SAS_SMALL_ORDER";
inline constexpr absl::string_view kInvalidPoint = "SAS_INVALID_POINT";
inline constexpr absl::string_view kReflectedKey = "SAS_REFLECTED_KEY";
inline constexpr absl::string_view kBadCommitment = "SAS_COMMITMENT";
inline constexpr absl::string_view kBadMac = "SAS_MAC";
inline constexpr absl::string_view kNotAuthentic = "SAS_SEAL";
inline constexpr absl::string_view kNoneOfThese = "SAS_NONE_OF_THESE";
inline constexpr absl::string_view kWrongChoice = "SAS_WRONG_CHOICE";

// These follow from what this side did or was told.
inline constexpr absl::string_view kStopped = "SAS_STOPPED";
inline constexpr absl::string_view kAttemptReused = "SAS_ATTEMPT_REUSED";
inline constexpr absl::string_view kLocked = "SAS_LOCKED";
// The person has not been told yet that the attempt before ended in suspicion.
inline constexpr absl::string_view kUnseen = "SAS_UNSEEN";
// A call of this process does not fit the moment. The exchange stays unchanged.
inline constexpr absl::string_view kNotNow = "SAS_NOT_NOW";
inline constexpr absl::string_view kBadContext = "SAS_CONTEXT";
inline constexpr absl::string_view kBadState = "SAS_STATE";

// Returns whether an end for this reason is recorded as a suspected attack even if no nonce was out: no honest pair of
// clients and no honest relay causes it.
bool SuspectsAttack(absl::string_view reason);

}  // namespace parley::sas

#endif  // PARLEY_LIB_SAS_REASON_H_
