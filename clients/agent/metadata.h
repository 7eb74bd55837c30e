// Owners, modes, times, access control lists and other extended attributes of files: copying all of them, and keeping
// those of a file that another one replaces.
//
// Threads: any thread may call the functions.
#ifndef PARLEY_CLIENTS_AGENT_METADATA_H_
#define PARLEY_CLIENTS_AGENT_METADATA_H_

#include <sys/stat.h>

#include <string>

#include "absl/status/status.h"

namespace parley::agent {

// Gives `to` the owner, mode, times and extended attributes of `from`, whose state is `info`. Attributes that this user
// may not set (security.*, trusted.*) or that the file system does not have are left out. `shown` is the path in
// errors. Returns the errors of CopyError.
absl::Status CopyMetadata(int from, int to, const struct stat& info, const std::string& shown);

// Gives the empty file or the folder `to` the flags that `from` has (chattr) and its project, on which a quota may
// rest. Returns the errors of CopyError.
absl::Status CopyFlags(int from, int to, const std::string& shown);

// Gives the written file `fd` what it should have in the place of `old`: its owner, access control list, user.*,
// SELinux label and capabilities, with the permissions `mode`. Without an old one (below 0) it gets what a file that is
// made in `folder` gets: the folder's group where that is inherited, its default list, its label. Returns the errors of
// CopyError and of lib/base/file.h.
absl::Status DressFile(int fd, int old, int folder, mode_t mode, const std::string& shown);
// Gives a folder that was just made with mode 0755 what one that is made in `folder` gets. Returns the same errors.
absl::Status DressFolder(int fd, int folder, const std::string& shown);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_METADATA_H_
