// Text that is pasted as an invitation link, and contents that somebody gave a good checksum.
#include <stdlib.h>

#include <string>

#include "absl/strings/match.h"
#include "lib/base/error.h"
#include "lib/keys/armor.h"
#include "lib/keys/invitation_link.h"

namespace parley::keys {
namespace {

void CheckPasted(const Secret& text) {
  const auto link = ParseInvitationLink(text, absl::FromUnixSeconds(1));
  if (!link.ok()) {
    if (!absl::StartsWith(Reason(link.status()), "INVITATION_LINK_")) abort();
    return;
  }
  // What is read can be written, and means the same.
  const auto again = ParseInvitationLink(FormatInvitationLink(*link).value(), absl::FromUnixSeconds(1));
  if (!again.ok() || again->address != link->address || again->organisation != link->organisation ||
      again->invitation != link->invitation || again->kind != link->kind || again->identity != link->identity ||
      !(again->secret == link->secret) || again->not_after != link->not_after) {
    abort();
  }
}

}  // namespace
}  // namespace parley::keys

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace parley;  // NOLINT: one function.
  const absl::string_view input(reinterpret_cast<const char*>(data), size);
  keys::CheckPasted(Secret::CopyOf(input));
  if (size <= 2000) keys::CheckPasted(keys::EncodeFields(keys::kInvitationLinkFormat, std::string(input)));
  return 0;
}
