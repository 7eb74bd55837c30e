// Writes a payload into a tree that is not in use yet.
#ifndef PARLEY_CLIENTS_AGENT_NEW_TREE_H_
#define PARLEY_CLIENTS_AGENT_NEW_TREE_H_

#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "clients/agent/swap_method.h"
#include "lib/base/fd.h"

namespace parley::agent {

// Removes the folders above these paths that are empty now, unless one of the `needed` paths lies in them.
void RemoveEmptyFolders(int root, const std::set<std::string>& paths, const std::vector<std::string>& needed);

// The file at the path, to take metadata from; none when there is no file, or one that this user may not read.
Fd OpenOldFile(int root, absl::string_view path);

// Creates one file or link at `path` below `root`, with the folders above it. It gets the metadata of the file `old`
// (below 0: none), or what a file that is made in the folder `home` gets (below 0: the one that it is made in). Errors
// as of WriteFiles.
absl::Status WriteEntry(int root, const std::string& path, const task::v1::FileEntry& entry, int old, int home,
                        const ReadChunk& read_chunk, const std::string& target);

// Creates the set's files, links and folders below `root`, but those that are unchanged; none of them is there yet. A
// file that stands at its path below `old` (below 0: none) gives it its metadata. Each file must come to its SHA-256
// (FILE_DIGEST). TARGET_CONFLICT when something else stands in the way; `shown` is the target's name in errors.
absl::Status WriteFiles(int root, int old, const NewSet& set, const std::string& shown);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_NEW_TREE_H_
