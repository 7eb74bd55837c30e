// Staying on one mount: what is mounted inside a tree belongs to somebody else.
//
// A mount is told by what the kernel says of the entry, never by device numbers: a bind mount has the device of the
// folder around it, and an overlay gives files another device than their folder.
#ifndef PARLEY_CLIENTS_AGENT_MOUNTS_H_
#define PARLEY_CLIENTS_AGENT_MOUNTS_H_

#include <sys/stat.h>

#include <string>

#include "absl/strings/string_view.h"
#include "lib/base/fd.h"
#include "lib/payload/beneath.h"

namespace parley::agent {

// Whether something is mounted at this entry of a folder, a folder or a single file. False when there is no such entry.
bool IsMount(int folder, const std::string& name);
// The same for what statx has said of an entry of the folder.
bool IsMountRoot(int folder, const struct statx& info);

// As payload::OpenBeneath, and no part of the path may be a mount either: fails with errno EXDEV.
Fd OpenOnMount(int root, absl::string_view path, int flags);
// Opens the folder that holds the last part of the path in that way; root itself for a path of one part.
Fd OpenFolderOnMount(int root, absl::string_view path);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_MOUNTS_H_
