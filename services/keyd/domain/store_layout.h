// The keys of keyd's store.
#ifndef PARLEY_SERVICES_KEYD_DOMAIN_STORE_LAYOUT_H_
#define PARLEY_SERVICES_KEYD_DOMAIN_STORE_LAYOUT_H_

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace parley::keyd {

// records::Organisation.
inline constexpr char kOrganisationKey[] = "organisation";
// Present from the founding until the first credentials are on disk. Empty.
inline constexpr char kFoundingKey[] = "founding";
// records::RootSet.
inline constexpr char kRootsKey[] = "roots";
// records::AuditHead.
inline constexpr char kAuditHeadKey[] = "audit_head";

// By serial in hex: key.v1.CredentialRecord.
inline constexpr char kCredentialPrefix[] = "credential/";
// By the audit sequence of the issue: the serial in hex. Gives the order of issue.
inline constexpr char kIssuedPrefix[] = "issued/";
// By serial in hex, until a day after the key's end: key.v1.Revocation.
inline constexpr char kRevocationPrefix[] = "revocation/";
// By caller and request id, for 24 hours: records::IssueRequest.
inline constexpr char kRequestPrefix[] = "request/";
// By sequence: key.v1.AuditEntry.
inline constexpr char kAuditPrefix[] = "audit/";
// By service and event id: empty. Says that the log has the event.
inline constexpr char kAuditIdPrefix[] = "audit_id/";

// Sorts as the number does.
inline std::string OrderedNumber(int64_t number) { return absl::StrCat(absl::Hex(number, absl::kZeroPad16)); }

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_DOMAIN_STORE_LAYOUT_H_
