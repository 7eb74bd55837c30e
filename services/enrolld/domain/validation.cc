#include "services/enrolld/domain/validation.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/utf8.h"
#include "lib/base/uuid.h"
#include "lib/sas/message.h"

namespace parley::enrolld {
namespace {

using enrol::v1::Invitation;

constexpr size_t kMaxTextBytes = 200;
constexpr size_t kMaxReasonBytes = 40;
constexpr size_t kMaxUserNameBytes = 48;
constexpr size_t kMaxEmailBytes = 254;
constexpr size_t kInstanceBytes = 16;
constexpr absl::Duration kMinTtl = absl::Minutes(1);
constexpr absl::Duration kMaxTtl = absl::Hours(24 * 30);
constexpr absl::Duration kDefaultTtl = absl::Hours(48);

bool IsUserName(absl::string_view name) {
  return !name.empty() && name.size() <= kMaxUserNameBytes && std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '.' || c == '_' || c == '-';
  });
}

// The atoms of RFC 5322: no quotes, no spaces, no brackets, no comma.
bool IsAtomChar(char c) {
  return absl::ascii_isalnum(c) || absl::string_view("!#$%&'*+-/=?^_`{|}~.").find(c) != absl::string_view::npos;
}

bool IsDomainChar(char c) { return absl::ascii_isalnum(c) || c == '-' || c == '.'; }

}  // namespace

absl::Status ValidateCreate(const enrol::v1::CreateInvitationRequest& request) {
  RETURN_IF_ERROR(ValidateRequestId(request.request_id()));
  if (request.kind() == Invitation::KIND_USER) {
    if (!IsUserName(request.user_name())) {
      return InvalidArgument("USER_NAME_MALFORMED", "a user's name has 1 to 48 of the characters a-z 0-9 . _ -");
    }
    switch (request.role()) {
      case access::v1::ROLE_ADMIN:
      case access::v1::ROLE_OPERATOR:
      case access::v1::ROLE_AUDITOR:
      case access::v1::ROLE_DEVICE:
        break;
      default:
        return InvalidArgument("ROLE_NOT_ENROLLED", "a user is an admin, an operator, an auditor or a device");
    }
  } else if (request.kind() != Invitation::KIND_DEVICE) {
    return InvalidArgument("KIND_MISSING", "say whether a user or a device is invited");
  } else if (!request.user_name().empty() || request.role() != access::v1::ROLE_UNSPECIFIED) {
    return InvalidArgument("DEVICE_IS_ONES_OWN", "a further device gets its user's name and role; leave them out");
  }
  if (!request.email().empty()) RETURN_IF_ERROR(ValidateEmail(request.email()));
  const absl::Duration ttl = TtlOf(request);
  if (ttl < kMinTtl || ttl > kMaxTtl)
    return InvalidArgument("TTL_RANGE", "an invitation lives for 1 minute to 30 days");
  return absl::OkStatus();
}

absl::Status ValidateRequestId(absl::string_view request_id) {
  if (IsUuid(request_id)) return absl::OkStatus();
  return InvalidArgument("REQUEST_ID_MALFORMED",
                         "request_id must be a UUID, one for each request; make one with uuidgen");
}

absl::Status ValidateEmail(absl::string_view email) {
  const size_t at = email.find('@');
  const absl::string_view domain = at == absl::string_view::npos ? "" : email.substr(at + 1);
  if (at != absl::string_view::npos && at > 0 && at <= 64 && email.size() <= kMaxEmailBytes && !domain.empty() &&
      domain.front() != '.' && domain.front() != '-' && domain.back() != '.' &&
      std::all_of(email.begin(), email.begin() + at, IsAtomChar) &&
      std::all_of(domain.begin(), domain.end(), IsDomainChar)) {
    return absl::OkStatus();
  }
  return InvalidArgument("EMAIL_MALFORMED", "this is not one plain e-mail address like bob@example.com");
}

absl::Status ValidateText(absl::string_view text, absl::string_view what) {
  const bool printable = IsUtf8(text) && std::none_of(text.begin(), text.end(), absl::ascii_iscntrl);
  if (printable && text.size() <= kMaxTextBytes) return absl::OkStatus();
  return InvalidArgument("TEXT_MALFORMED", absl::StrCat(what, " must be one line of at most 200 bytes of UTF-8"));
}

absl::Status ValidateHello(const enrol::v1::Hello& hello) {
  if (hello.instance().size() == kInstanceBytes && hello.step() <= sas::kLastStep) return absl::OkStatus();
  return InvalidArgument("HELLO_MALFORMED", "hello needs an instance of 16 bytes and a step from 0 to 8");
}

absl::Status ValidateStop(const enrol::v1::Stop& stop) {
  const std::string& reason = stop.reason();
  if (reason.empty() || reason.size() > kMaxReasonBytes || !std::all_of(reason.begin(), reason.end(), [](char c) {
        return absl::ascii_isupper(c) || absl::ascii_isdigit(c) || c == '_';
      })) {
    return InvalidArgument("STOP_MALFORMED", "stop needs a reason of 1 to 40 of the characters A-Z 0-9 _");
  }
  return ValidateText(stop.sentence(), "the sentence of stop");
}

absl::Duration TtlOf(const enrol::v1::CreateInvitationRequest& request) {
  if (!request.has_ttl()) return kDefaultTtl;
  // Anything far out of range, before it overflows.
  const int64_t seconds = std::clamp<int64_t>(request.ttl().seconds(), -1, absl::ToInt64Seconds(kMaxTtl) + 1);
  return absl::Seconds(seconds) + absl::Nanoseconds(request.ttl().nanos());
}

}  // namespace parley::enrolld
