// Opens what lies below a folder without following a link anywhere on the way.
//
// Threads: free functions without state; an Fd belongs to one thread at a time.
#ifndef PARLEY_LIB_PAYLOAD_BENEATH_H_
#define PARLEY_LIB_PAYLOAD_BENEATH_H_

#include <sys/types.h>

#include <string>

#include "absl/strings/string_view.h"
#include "lib/base/fd.h"

namespace parley::payload {

// Opens the folder that holds the last part of the relative path; "." gives root itself. The path must be "." or one
// that ValidateFiles accepts. Returns none, with errno, on failure: ENOTDIR or ELOOP if a part is a file or a link.
Fd OpenFolderBeneath(int root, absl::string_view path);

// Opens like openat(root, path, flags | O_NOFOLLOW | O_CLOEXEC, mode), except that no part of the path may be a link.
Fd OpenBeneath(int root, absl::string_view path, int flags, mode_t mode = 0);

// Returns the last part of a path.
std::string LastPart(absl::string_view path);

}  // namespace parley::payload

#endif  // PARLEY_LIB_PAYLOAD_BENEATH_H_
