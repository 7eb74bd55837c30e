// Checks what requests look like. All errors are INVALID_ARGUMENT, with a reason for each cause.
#ifndef PARLEY_SERVICES_ENROLLD_DOMAIN_VALIDATION_H_
#define PARLEY_SERVICES_ENROLLD_DOMAIN_VALIDATION_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "parley/enrol/v1/exchange_service.pb.h"
#include "parley/enrol/v1/invitation_service.pb.h"

namespace parley::enrolld {

// Checks all that does not depend on the caller.
absl::Status ValidateCreate(const enrol::v1::CreateInvitationRequest& request);
// Returns REQUEST_ID_MALFORMED.
absl::Status ValidateRequestId(absl::string_view request_id);
// Takes one address in plain ASCII, without a display name, and nothing that could begin a line or a second address in
// a mail's header or in SMTP. Returns EMAIL_MALFORMED.
absl::Status ValidateEmail(absl::string_view email);
// Returns TEXT_MALFORMED for over 200 bytes, or what is not printable UTF-8 in one line.
absl::Status ValidateText(absl::string_view text, absl::string_view what);
absl::Status ValidateHello(const enrol::v1::Hello& hello);
absl::Status ValidateStop(const enrol::v1::Stop& stop);

// Returns how long the invitation lives.
absl::Duration TtlOf(const enrol::v1::CreateInvitationRequest& request);

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_DOMAIN_VALIDATION_H_
