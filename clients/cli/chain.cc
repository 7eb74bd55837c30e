#include "clients/cli/chain.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "clients/cli/unlock.h"
#include "lib/base/error.h"
#include "lib/keys/roles.h"

namespace parley::cli {

Globals ByDevice(const Globals& globals) {
  Globals by_device = globals;
  by_device.device_path = DevicePath(globals);
  by_device.credential_path.clear();
  return by_device;
}

absl::StatusOr<ops::Membership> OpenMembership(const Globals& globals) {
  ASSIGN_OR_RETURN(device::DeviceFile* const file, OpenDevice(globals));
  return ops::Membership(file, globals.server);
}

absl::StatusOr<trust::Chain> FetchChain(const Globals& globals) {
  ASSIGN_OR_RETURN(const ops::Membership membership, OpenMembership(globals));
  return membership.FetchChain();
}

absl::StatusOr<DeviceMembership> FollowDeviceMembership(const Globals& globals) {
  ASSIGN_OR_RETURN(device::DeviceFile* const file, OpenDevice(globals));
  return ops::FollowDeviceMembership(file);
}

absl::StatusOr<access::v1::Role> ParseRole(absl::string_view option, const std::string& text,
                                           const std::vector<access::v1::Role>& among) {
  std::vector<std::string> names;
  for (const access::v1::Role role : among) {
    names.push_back(keys::RoleName(role));
    if (absl::EqualsIgnoreCase(text, names.back())) return role;
  }
  return UsageError(absl::StrCat(option, " is one of ", absl::StrJoin(names, ", ")));
}

}  // namespace parley::cli
