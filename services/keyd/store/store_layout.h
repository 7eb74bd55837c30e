// The keys of keyd's store, and how the records under them are read.
//
// Threads: free functions without state; those that read block on the store.
#ifndef PARLEY_SERVICES_KEYD_STORE_STORE_LAYOUT_H_
#define PARLEY_SERVICES_KEYD_STORE_STORE_LAYOUT_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "lib/base/error.h"
#include "lib/store/store.h"

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
// By device: the serial of its newest credential in hex. Says by its revision whether another was issued.
inline constexpr char kNewestCredentialPrefix[] = "newest_credential/";
// By subject of a device's credentials: records::DeviceName.
inline constexpr char kDeviceNamePrefix[] = "device_name/";
// Empty. Says that the names of all devices that were issued a credential are there.
inline constexpr char kDeviceNamesFilledKey[] = "device_names_filled";
// By sequence: trust.v1.SignedCertificate.
inline constexpr char kCertificatePrefix[] = "certificate/";
// The root verification key of the chain of certificates: 32 bytes.
inline constexpr char kTrustRootKey[] = "trust_root";
// By service and process, for each that admits by what is stored here, under its lease: store::Replicas has the value.
inline constexpr char kReplicaPrefix[] = "replica/";
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
  return DataLoss("STORE_DAMAGED", "the store's entry ", key, " cannot be read; restore it from a backup");
}

// A record, and the revision of the commit that put it, for a condition; 0 if there is none.
template <typename Record>
struct Versioned {
  Record value;
  int64_t revision = 0;
  bool exists() const { return revision > 0; }
};

// Returns the record in a value. DATA_LOSS (STORE_DAMAGED).
template <typename Record>
absl::StatusOr<Record> ParseRecord(absl::string_view key, const std::string& value) {
  Record record;
  if (!record.ParseFromString(value)) return Damaged(key);
  return record;
}

// Reads the record under a key, at `revision` as Store::Get has it. The errors of Store::Get and ParseRecord.
template <typename Record>
absl::StatusOr<Versioned<Record>> ReadRecord(store::Store* store, absl::string_view key, int64_t revision = 0) {
  ASSIGN_OR_RETURN(const store::Entry entry, store->Get(key, revision));
  ASSIGN_OR_RETURN(Record record, ParseRecord<Record>(key, entry.value));
  return Versioned<Record>{std::move(record), entry.mod_revision};
}

// Reads the record under a key where there may be none. The errors of ReadRecord but NOT_FOUND.
template <typename Record>
absl::StatusOr<Versioned<Record>> FindRecord(store::Store* store, absl::string_view key, int64_t revision = 0) {
  auto found = ReadRecord<Record>(store, key, revision);
  if (absl::IsNotFound(found.status())) return Versioned<Record>();
  return found;
}

// Sorts as the number does.
inline std::string OrderedNumber(int64_t number) { return absl::StrCat(absl::Hex(number, absl::kZeroPad16)); }

// The number in a key that ends in one, below a prefix; 0 for another key.
inline int64_t NumberOf(absl::string_view key, absl::string_view prefix) {
  int64_t number = 0;
  if (!absl::ConsumePrefix(&key, prefix) || !absl::SimpleHexAtoi(key, &number)) return 0;
  return number;
}

// The range of what says which keys are good: the revocations and, beside them, the roots.
inline store::KeyRange GoodKeysRange() { return {kRevocationPrefix, absl::StrCat(kRootsKey, "0")}; }

// Returns the range of what stands below a prefix behind a number that is not negative.
inline store::KeyRange After(absl::string_view prefix, int64_t number) {
  store::KeyRange range = store::KeyRange::Prefix(prefix);
  range.begin = absl::StrCat(prefix, OrderedNumber(number), "0");  // No key stands between the number's and this.
  return range;
}

inline std::string DeviceCredentialKey(absl::string_view device, absl::string_view number) {
  return absl::StrCat(kDeviceCredentialPrefix, device, "/", number);
}

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_STORE_STORE_LAYOUT_H_
