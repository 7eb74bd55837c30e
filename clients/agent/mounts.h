// Staying on one mount: what is mounted inside a tree belongs to somebody else.
//
// A mount is told by what the kernel says of the entry, never by device numbers: a bind mount has the device of the
// folder around it, and an overlay gives files another device than their folder.
//
// Threads: any thread may call the functions.
#ifndef PARLEY_CLIENTS_AGENT_MOUNTS_H_
#define PARLEY_CLIENTS_AGENT_MOUNTS_H_

#include <sys/stat.h>

#include <string>

#include "absl/strings/string_view.h"
#include "lib/base/fd.h"
#include "lib/payload/beneath.h"

namespace parley::agent {

// Returns whether something is mounted at this entry of a folder, which may be a folder or a file, or may not exist.
bool IsMount(int folder, const std::string& name);
// Returns the same for what statx has said of an entry of the folder.
bool IsMountRoot(int folder, const struct statx& info);

// Opens the path in the way of payload::OpenBeneath. If a part of it is a mount, it fails with errno EXDEV.
Fd OpenOnMount(int root, absl::string_view path, int flags);
// Opens the folder that holds the last part of the path in the same way; for a path of one part that is the root.
Fd OpenFolderOnMount(int root, absl::string_view path);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_MOUNTS_H_
