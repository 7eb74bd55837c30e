// The keys of keyd's store, and the error of an entry that cannot be read.
#ifndef PARLEY_SERVICES_KEYD_STORE_STORE_LAYOUT_H_
#define PARLEY_SERVICES_KEYD_STORE_STORE_LAYOUT_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "lib/base/error.h"

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
// By device ("devices/{id}") and the audit sequence of the issue: the serial in hex.
inline constexpr char kDeviceCredentialPrefix[] = "device_credential/";
// By subject of a device's credentials: records::DeviceName.
inline constexpr char kDeviceNamePrefix[] = "device_name/";
// Empty. Says that the names of all devices that were issued a credential are there.
inline constexpr char kDeviceNamesFilledKey[] = "device_names_filled";
// By sequence: trust.v1.SignedCertificate.
inline constexpr char kCertificatePrefix[] = "certificate/";
// The root verification key of the chain of certificates: 32 bytes.
inline constexpr char kTrustRootKey[] = "trust_root";
// By serial in hex, until a day after the key's end: key.v1.Revocation.
inline constexpr char kRevocationPrefix[] = "revocation/";
// By caller and request id, for 24 hours: records::IssueRequest.
inline constexpr char kRequestPrefix[] = "request/";
// By sequence: key.v1.AuditEntry.
inline constexpr char kAuditPrefix[] = "audit/";
// By service and event id: empty. Says that the log has the event.
inline constexpr char kAuditIdPrefix[] = "audit_id/";

// DATA_LOSS (STORE_DAMAGED): what stands under the key cannot be read.
inline absl::Status Damaged(absl::string_view key) {
  return Error(absl::StatusCode::kDataLoss, "STORE_DAMAGED",
               absl::StrCat("the store's entry ", key, " cannot be read; restore it from a backup"));
}

// Sorts as the number does.
inline std::string OrderedNumber(int64_t number) { return absl::StrCat(absl::Hex(number, absl::kZeroPad16)); }

// The number in a key that ends in one, below a prefix; 0 for another key.
inline int64_t NumberOf(absl::string_view key, absl::string_view prefix) {
  int64_t number = 0;
  if (!absl::ConsumePrefix(&key, prefix) || !absl::SimpleHexAtoi(key, &number)) return 0;
  return number;
}

inline std::string DeviceCredentialKey(absl::string_view device, absl::string_view number) {
  return absl::StrCat(kDeviceCredentialPrefix, device, "/", number);
}

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_STORE_STORE_LAYOUT_H_
