#include "lib/keys/roles.h"

#include "absl/strings/ascii.h"
#include "absl/strings/strip.h"

namespace parley::keys {

std::string RoleName(access::v1::Role role) {
  return absl::AsciiStrToLower(absl::StripPrefix(access::v1::Role_Name(role), "ROLE_"));
}

}  // namespace parley::keys
