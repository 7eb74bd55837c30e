// The names of roles for people, logs and metrics.
//
// Threads: a pure function.
#ifndef PARLEY_LIB_KEYS_ROLES_H_
#define PARLEY_LIB_KEYS_ROLES_H_

#include <string>

#include "parley/access/v1/access.pb.h"

namespace parley::keys {

// Returns "admin" for ROLE_ADMIN and so on.
std::string RoleName(access::v1::Role role);

}  // namespace parley::keys

#endif  // PARLEY_LIB_KEYS_ROLES_H_
