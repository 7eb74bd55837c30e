#include "services/keyd/domain/credential_rules.h"

#include <algorithm>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/keys/identity.h"
#include "lib/keys/roles.h"

namespace parley::keyd {
namespace {

constexpr absl::string_view kNamePrefix = "credentials/";
constexpr size_t kMaxSubjectBytes = 48;
constexpr size_t kMaxRevocationReasonBytes = 200;

bool IsSubject(absl::string_view text) {
  return !text.empty() && text.size() <= kMaxSubjectBytes && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '.' || c == '_' || c == '-';
  });
}

}  // namespace

std::string CredentialName(absl::string_view serial) { return absl::StrCat(kNamePrefix, serial); }

std::string SerialOfName(absl::string_view name) {
  if (!absl::ConsumePrefix(&name, kNamePrefix)) return "";
  const auto serial = HexDecode(name);
  return serial.has_value() && serial->size() == keys::kSerialBytes ? std::string(name) : "";
}

std::vector<absl::string_view> AudiencesOf(access::v1::Role role) {
  switch (role) {
    case access::v1::ROLE_ADMIN:
    case access::v1::ROLE_AUDITOR:
    // Reads the chain of trust, and enrols further devices of its own.
    case access::v1::ROLE_OPERATOR:
      return {keys::kTaskd, keys::kEnrolld, keys::kKeyd};
    // Reads the chain of trust.
    case access::v1::ROLE_DEVICE:
      return {keys::kTaskd, keys::kKeyd};
    case access::v1::ROLE_SERVICE:
      return {keys::kKeyd};
    default:
      return {};
  }
}

absl::Status CheckTtl(absl::Duration ttl) {
  if (ttl >= absl::Seconds(1) && ttl <= kMaxTtl) return absl::OkStatus();
  return InvalidArgument("TTL", "a ttl must be 1 second to 366 days");
}

absl::Status CheckIssue(access::v1::Role role, absl::string_view subject, absl::Duration ttl,
                        const keys::Labels& labels) {
  if (AudiencesOf(role).empty()) {
    return InvalidArgument("ROLE", "a credential's role is admin, operator, auditor, service or device");
  }
  if (!IsSubject(subject)) {
    return InvalidArgument("SUBJECT", "a subject has 1 to 48 characters out of a-z, 0-9, dot, underscore and hyphen");
  }
  // Its subject decides whose keys a service gets.
  if (role == access::v1::ROLE_SERVICE && subject != keys::kTaskd && subject != keys::kEnrolld) {
    return InvalidArgument("SUBJECT", "a service's subject is taskd or enrolld");
  }
  RETURN_IF_ERROR(CheckTtl(ttl));
  if (labels.empty() || role == access::v1::ROLE_DEVICE) return keys::CheckLabels(labels);
  return InvalidArgument("LABEL_ROLE",
                         "only a device has labels; leave them out, or issue a credential of the role device");
}

absl::Status CheckRevocationReason(absl::string_view reason) {
  if (reason.size() <= kMaxRevocationReasonBytes) return absl::OkStatus();
  return InvalidArgument("REVOCATION_REASON", "a reason may have at most 200 characters");
}

std::string ContentOf(const key::v1::IssueCredentialRequest& request) {
  std::string content = absl::StrCat(static_cast<int>(request.role()), "\n", request.subject(), "\n",
                                     absl::ToInt64Nanoseconds(TtlOf(request)), "\n", request.device());
  // With their lengths: different labels may read the same.
  for (const auto& [key, value] :
       std::map<std::string, std::string>(request.labels().begin(), request.labels().end())) {
    absl::StrAppend(&content, "\n", key.size(), " ", key, " ", value.size(), " ", value);
  }
  return content;
}

std::string Describe(const key::v1::CredentialRecord& record) {
  std::string text =
      absl::StrCat(keys::RoleName(record.role()), "/", record.subject(), " until ",
                   absl::FormatTime(absl::RFC3339_sec, ToTime(record.expire_time()), absl::UTCTimeZone()));
  if (!record.labels().empty()) absl::StrAppend(&text, " with ", keys::ShowLabels(record.labels()));
  return text;
}

absl::StatusOr<int> PageSize(int requested) {
  if (requested < 0 || requested > 1000) return InvalidArgument("PAGE_SIZE", "page_size must be 0 to 1000");
  return requested == 0 ? 100 : requested;
}

absl::Status CheckAfterSequence(int64_t after_sequence) {
  if (after_sequence >= 0) return absl::OkStatus();
  return InvalidArgument("AFTER_SEQUENCE", "after_sequence must not be negative");
}

}  // namespace parley::keyd
