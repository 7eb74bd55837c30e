// Says what a file's owner, group and others may do, also if the file has an access control list (ACL).
//
// With an ACL the group's bits of the mode are the list's mask, which also holds what named users and groups may do at
// most; the list says what the group itself may do. A set names the latter, so a list that somebody has put on an
// installed file does not make it another file.
//
// Threads: free functions without state.
#ifndef PARLEY_LIB_PAYLOAD_PERMISSIONS_H_
#define PARLEY_LIB_PAYLOAD_PERMISSIONS_H_

#include <sys/types.h>

#include <string>

#include "absl/strings/string_view.h"

namespace parley::payload {

inline constexpr char kAccessAcl[] = "system.posix_acl_access";
inline constexpr char kDefaultAcl[] = "system.posix_acl_default";

// Returns the permission bits of an open file whose st_mode is `mode`.
mode_t PermissionsOf(int fd, mode_t mode);
// Returns the bits that `acl`, the value of an attribute above, gives owner, group and others. Where it says nothing
// they are those of `mode`.
mode_t PermissionsIn(absl::string_view acl, mode_t mode);

// Returns the list with `mode` for owner, group and others; the rest, the mask with it, stays. Returns an empty text if
// `acl` is no list, or one that says no more than a mode does.
std::string AclWithMode(absl::string_view acl, mode_t mode);

}  // namespace parley::payload

#endif  // PARLEY_LIB_PAYLOAD_PERMISSIONS_H_
