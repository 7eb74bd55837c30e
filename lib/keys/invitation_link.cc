#include "lib/keys/invitation_link.h"

#include <algorithm>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/keys/armor.h"
#include "lib/keys/identity.h"

namespace parley::keys {
namespace {

// The fields: not_after (5) ‖ secret (32) ‖ kind (1) ‖ invitation (16) ‖ address, organisation and identity, each after
// one byte with its size.
constexpr absl::string_view kScheme = "parley://claim/";
constexpr size_t kInvitationBytes = 16;
constexpr size_t kMaxOrganisationBytes = 64;

bool IsInvitation(absl::string_view invitation) {
  return invitation.size() == 2 * kInvitationBytes && std::all_of(invitation.begin(), invitation.end(), [](char c) {
           return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f');
         });
}

// Shown on a terminal before anything is known of who made it.
bool IsOrganisation(absl::string_view name) {
  return !name.empty() && name.size() <= kMaxOrganisationBytes &&
         std::all_of(name.begin(), name.end(), absl::ascii_isprint);
}

bool IsGood(const InvitationLink& link) {
  return IsAddress(link.address) && IsOrganisation(link.organisation) && IsInvitation(link.invitation) &&
         (link.kind == InvitationKind::kUser || link.kind == InvitationKind::kDevice) && !link.identity.empty() &&
         link.identity.size() <= kMaxIdentityBytes && link.secret.size() == kSecretBytes && FitsTime(link.not_after);
}

absl::StatusOr<InvitationLink> ParseFields(absl::string_view fields) {
  ByteReader reader(fields);
  InvitationLink link;
  link.not_after = TakeTime(&reader);
  link.secret = Secret::CopyOf(reader.Take(kSecretBytes));
  link.kind = static_cast<InvitationKind>(reader.TakeNumber(1));
  link.invitation = HexEncode(reader.Take(kInvitationBytes));
  link.address = std::string(reader.TakeSized(1));
  link.organisation = std::string(reader.TakeSized(1));
  link.identity = Base64UrlEncode(reader.TakeSized(1));
  if (!reader.finished() || !IsGood(link)) {
    return NotOne(kInvitationLinkFormat, "the invitation link is malformed; ask for a new one");
  }
  return link;
}

}  // namespace

absl::StatusOr<Secret> FormatInvitationLink(const InvitationLink& link) {
  const std::optional<std::string> identity = Base64UrlDecode(link.identity);
  if (!IsGood(link) || !identity.has_value()) {
    return InvalidArgument(
        "INVITATION_LINK_FIELDS",
        "an invitation link needs host:port, an organisation, an invitation's id and kind, an identity and a "
        "secret of 32 bytes");
  }
  const Secret dressed = EncodeFields(
      kInvitationLinkFormat,
      absl::StrCat(EncodeTime(link.not_after), link.secret.Expose(), std::string(1, static_cast<char>(link.kind)),
                   *HexDecode(link.invitation), Sized(link.address), Sized(link.organisation), Sized(*identity)));
  return Secret::Take(absl::StrCat(kScheme, dressed.Expose()));
}

absl::StatusOr<InvitationLink> ParseInvitationLink(const Secret& pasted, absl::Time now) {
  ASSIGN_OR_RETURN(Secret text, StripPasted(kInvitationLinkFormat, pasted));
  if (absl::StartsWithIgnoreCase(text.Expose(), kScheme)) text = Secret::CopyOf(text.Expose().substr(kScheme.size()));
  ASSIGN_OR_RETURN(const Secret fields, DecodeFields(kInvitationLinkFormat, text));
  ASSIGN_OR_RETURN(InvitationLink link, ParseFields(fields.Expose()));
  RETURN_IF_ERROR(CheckNotExpired(kInvitationLinkFormat, link.not_after, now, "ask who invited you for a new one"));
  return link;
}

PastedPart JudgePastedInvitationLink(const Secret& pasted) {
  const absl::StatusOr<Secret> text = StripPasted(kInvitationLinkFormat, pasted);
  if (!text.ok()) return PastedPart::kNone;
  absl::string_view link = text->Expose();
  if (absl::StartsWithIgnoreCase(kScheme, link)) return PastedPart::kSome;
  if (absl::StartsWithIgnoreCase(link, kScheme)) link.remove_prefix(kScheme.size());
  return JudgePart(kInvitationLinkFormat, link);
}

}  // namespace parley::keys
