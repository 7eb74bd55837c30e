// What a credential may be: its role, subject, life and labels, and what it opens.
//
// Threads: free functions without state.
#ifndef PARLEY_SERVICES_KEYD_DOMAIN_CREDENTIAL_RULES_H_
#define PARLEY_SERVICES_KEYD_DOMAIN_CREDENTIAL_RULES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/base/proto_time.h"
#include "lib/keys/labels.h"
#include "parley/key/v1/key_service.pb.h"

namespace parley::keyd {

// Longest life of a credential, and of one whose request names none.
inline constexpr absl::Duration kMaxTtl = absl::Hours(24 * 366);
inline constexpr absl::Duration kDefaultTtl = absl::Hours(24 * 90);

// A revocation is kept this long after its key has ended: clocks differ.
inline constexpr absl::Duration kRevocationGrace = absl::Hours(24);

// "credentials/{serial}", with the serial in hex.
std::string CredentialName(absl::string_view serial);
// Returns the serial in hex; empty when the name is malformed.
std::string SerialOfName(absl::string_view name);

// Returns the audiences that a credential of the role has keys for; none for a role that has no credentials.
std::vector<absl::string_view> AudiencesOf(access::v1::Role role);

// Returns the life that a request asks for: its `ttl`, or kDefaultTtl.
template <typename Request>
absl::Duration TtlOf(const Request& request) {
  return request.has_ttl() ? ToDuration(request.ttl()) : kDefaultTtl;
}
// INVALID_ARGUMENT (TTL).
absl::Status CheckTtl(absl::Duration ttl);
// INVALID_ARGUMENT: ROLE, SUBJECT, TTL, LABEL_ROLE (labels for another role than device), LABEL_MALFORMED,
// TOO_MANY_LABELS.
absl::Status CheckIssue(access::v1::Role role, absl::string_view subject, absl::Duration ttl,
                        const keys::Labels& labels);
// INVALID_ARGUMENT (REVOCATION_REASON).
absl::Status CheckRevocationReason(absl::string_view reason);

// Returns what a request asks for, to tell a repetition from another request.
std::string ContentOf(const key::v1::IssueCredentialRequest& request);
// Returns what the audit log says of a new credential: "device/web-1 until 2026-12-01T00:00:00Z with role=web".
std::string Describe(const key::v1::CredentialRecord& record);

// Returns the size of a page of a list: 100 for 0. INVALID_ARGUMENT (PAGE_SIZE).
absl::StatusOr<int> PageSize(int requested);
// INVALID_ARGUMENT (AFTER_SEQUENCE) unless that is where a list or a stream can begin.
absl::Status CheckAfterSequence(int64_t after_sequence);

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_DOMAIN_CREDENTIAL_RULES_H_
