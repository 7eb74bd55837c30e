// Copying, comparing and removing folder trees without ever following a link in them or going through a mount.
//
// Others may write in a tree meanwhile. An entry that is gone when it is looked at again counts as one that was not
// there.
//
// Threads: the functions may be called from any thread, but not on the same tree at once.
#ifndef PARLEY_CLIENTS_AGENT_TREE_H_
#define PARLEY_CLIENTS_AGENT_TREE_H_

#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace parley::agent {

struct TreeLimits {
  int64_t max_entries = 50'000;
  int64_t max_bytes = int64_t{4} << 30;
};

// Is called with the descriptor of a folder, the path of an entry in it from the root, what the entry is, and whether
// something is mounted there.
using Visit = std::function<absl::Status(int folder, const std::string& path, const struct statx& info, bool is_mount)>;
// Calls `visit` for everything below `root`, folders before what is in them. It does not walk into mounts. No folder is
// kept open, so that a deep tree does not use up descriptors. `shown` stands for the root in errors, here and below.
// Returns the errors of `visit` and of CopyError, and TARGET_MOUNT if something was mounted over a folder meanwhile.
absl::Status WalkTree(int root, const std::string& shown, const Visit& visit);

// Returns the names in a folder that do not begin with a dot; none if it cannot be read.
std::vector<std::string> FolderNames(const std::string& folder);

// Returns a digest of what a tree looks like from outside, which changes when anything in it is written, replaced,
// renamed or re-owned. Errors: TARGET_TOO_LARGE (over the limits), TARGET_SPECIAL_FILE (a device, socket or pipe),
// TARGET_HARD_LINK (a file with several names), TARGET_MOUNT (something is mounted inside), TARGET_IMMUTABLE, and those
// of CopyError.
absl::StatusOr<std::string> Fingerprint(int root, const std::string& shown, const TreeLimits& limits);

// Copies what is in `from` into the empty folder `to`, and the modes, owners, times and extended attributes, those of
// the folders themselves included. Files share blocks where the file system can do that, and are copies always: a
// program that writes to one does not change the other. Files and links for which `skip` holds are left out. Returns
// TARGET_MOUNT if something is mounted inside, and the errors of CopyError.
absl::Status CopyTree(int from, int to, const std::string& shown,
                      const std::function<bool(const std::string& path)>& skip);

// Removes the folder `name` in `parent` and all in it, if there is one. Returns TARGET_MOUNT, with nothing removed, if
// something is mounted anywhere inside, and the errors of CopyError and lib/base/file.h.
absl::Status RemoveTree(int parent, const std::string& name, const std::string& shown);

// Makes everything below `root` durable, names included. Returns the errors of WalkTree and lib/base/file.h.
absl::Status SyncTree(int root, const std::string& shown);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_TREE_H_
