// Checks the form of what certificates contain. Private to lib/trust.
#ifndef PARLEY_LIB_TRUST_FORM_H_
#define PARLEY_LIB_TRUST_FORM_H_

#include "absl/strings/string_view.h"
#include "google/protobuf/timestamp.pb.h"
#include "parley/access/v1/access.pb.h"
#include "parley/trust/v1/certificate.pb.h"

namespace parley::trust {

// Returns whether a user can have this role.
bool IsMemberRole(access::v1::Role role);

// Returns whether the text is well-formed UTF-8 in its shortest form, without control characters, and without those
// that turn the direction of text or cannot be seen: labels are shown to people, who decide by them.
bool IsPrintableUtf8(absl::string_view text);

// Returns whether a time is within the years 1970 to 9999.
bool IsTime(const google::protobuf::Timestamp& timestamp);

bool IsSignedBy(absl::string_view verification_key, const v1::SignedCertificate& certificate);

}  // namespace parley::trust

#endif  // PARLEY_LIB_TRUST_FORM_H_
