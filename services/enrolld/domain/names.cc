#include "services/enrolld/domain/names.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"

namespace parley::enrolld {
namespace {

using enrol::v1::Invitation;

constexpr absl::string_view kCollection = "invitations/";
constexpr size_t kIdChars = 32;

}  // namespace

std::string InvitationName(absl::string_view id) { return absl::StrCat(kCollection, id); }

absl::StatusOr<std::string> ParseInvitationName(absl::string_view name) {
  absl::string_view id = name;
  if (absl::ConsumePrefix(&id, kCollection) && id.size() == kIdChars &&
      std::all_of(id.begin(), id.end(), [](char c) { return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f'); })) {
    return std::string(id);
  }
  return Error(absl::StatusCode::kInvalidArgument, "NAME_MALFORMED",
               absl::StrCat("\"", absl::CHexEscape(name.substr(0, 120)),
                            "\" is not a name of the form invitations/{32 hex digits}"));
}

std::string InvitationId(const Invitation& invitation) { return invitation.name().substr(kCollection.size()); }

std::string StateNoun(Invitation::State state) {
  return absl::AsciiStrToLower(absl::StripPrefix(Invitation::State_Name(state), "STATE_"));
}

std::string StateReason(Invitation::State state) {
  return absl::StrCat("INVITATION_", absl::StripPrefix(Invitation::State_Name(state), "STATE_"));
}

absl::Status EndedError(const Invitation& invitation) {
  return Error(absl::StatusCode::kFailedPrecondition, StateReason(invitation.state()),
               absl::StrCat("the invitation of ", invitation.user_name(), " was ", StateNoun(invitation.state()),
                            " at ", ShowTime(ToTime(invitation.end_time())), ": ", invitation.end_sentence()));
}

absl::Status NoInvitation(absl::string_view name) {
  return Error(absl::StatusCode::kNotFound, "INVITATION_NOT_FOUND",
               absl::StrCat("there is no invitation ", absl::CHexEscape(name.substr(0, 120)),
                            " of yours; list them with: parley invite list"));
}

}  // namespace parley::enrolld
