// Owners, modes, times, access control lists and other extended attributes of files: copying all of them, and keeping
// those of a file that another one replaces.
//
// Threads: any.
#ifndef PARLEY_CLIENTS_AGENT_METADATA_H_
#define PARLEY_CLIENTS_AGENT_METADATA_H_

#include <sys/stat.h>

#include <string>

#include "absl/status/status.h"

namespace parley::agent {

// Gives `to` owner, mode, times and extended attributes of `from`, whose state is `info`. Attributes that this user may
// not set (security.*, trusted.*) or that the file system does not have are left out. TARGET_COPY; errors of
// lib/base/file.h.
absl::Status CopyMetadata(int from, int to, const struct stat& info, const std::string& shown);

// Gives the empty file or the folder `to` the flags that `from` has (chattr) and its project, on which a quota may
// rest. TARGET_COPY when that is not possible.
absl::Status CopyFlags(int from, int to, const std::string& shown);

// Gives the written file `fd` what it should have in the place of `old`: its owner, access control list, user.*,
// SELinux label and capabilities, with the permissions `mode`. Without an old one (below 0) it gets what a file that is
// made in `folder` gets: the folder's group where that is inherited, its default list, its label. Errors of
// lib/base/file.h.
absl::Status DressFile(int fd, int old, int folder, mode_t mode, const std::string& shown);
// The same for a folder that was just made with mode 0755 and will lie in `folder`.
absl::Status DressFolder(int fd, int folder, const std::string& shown);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_METADATA_H_
