// Copying, comparing and removing folder trees without ever following a link in them or going through a mount.
//
// Others may write in a tree meanwhile: an entry that is gone when it is looked at again was not there.
//
// Threads: none of these may run on the same tree at once.
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

// Calls `visit` for everything below `root`, folders before what is in them, in no order that stays. `visit` gets the
// folder's descriptor, the entry's path from the root, what it is, and whether something is mounted there; it is not
// walked into then. No folder is kept open, so that a deep tree does not use up descriptors.
using Visit = std::function<absl::Status(int folder, const std::string& path, const struct statx& info, bool is_mount)>;
absl::Status WalkTree(int root, const std::string& shown, const Visit& visit);

// Returns the names in a folder that do not begin with a dot; none if it cannot be read.
std::vector<std::string> FolderNames(const std::string& folder);

// What a tree looks like from outside: changes when anything in it is written, replaced, renamed or re-owned.
// TARGET_TOO_LARGE over the limits; TARGET_SPECIAL_FILE for a device, socket or pipe; TARGET_HARD_LINK for
// a file with several names; TARGET_MOUNT for something mounted inside; TARGET_IMMUTABLE; TARGET_COPY for what
// cannot be read; errors of lib/base/file.h. `shown` stands for the root in errors.
absl::StatusOr<std::string> Fingerprint(int root, const std::string& shown, const TreeLimits& limits);

// Copies what is in `from` into the empty folder `to`, and the modes, owners, times and extended attributes, those of
// the folders themselves included. Files share blocks where the file system can do that, and are copies always: a
// program that writes to one does not change the other. TARGET_COPY for an entry that cannot be copied with all that
// belongs to it. Entries for which `skip` holds are left out (files and links only).
absl::Status CopyTree(int from, int to, const std::string& shown,
                      const std::function<bool(const std::string& path)>& skip);

// Removes the folder `name` in `parent` and all in it; no error when there is none. TARGET_MOUNT, with nothing removed,
// when something is mounted anywhere inside.
absl::Status RemoveTree(int parent, const std::string& name, const std::string& shown);

// Makes everything below `root` durable, names included.
absl::Status SyncTree(int root, const std::string& shown);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_TREE_H_
