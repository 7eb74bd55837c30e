// Writes a payload into a tree that is not in use yet.
//
// Threads: any thread may call the functions.
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

// Checks that in a copy of the tree `root` nothing that stays is where the set needs something else; `dropped` has the
// paths that do not stay, and `shown` is the path of the tree in errors. Returns TARGET_CONFLICT, and the errors of
// lib/base/file.h.
absl::Status CheckWays(int root, const task::v1::Manifest& manifest, const std::set<std::string>& dropped,
                       const std::string& shown);

// Opens the file at the path, to take metadata from; returns none if there is no file, or one that this user may not
// read.
Fd OpenOldFile(int root, absl::string_view path);

// Creates one file or link at `path` below `root`, with the folders above it. It gets the metadata of the file `old`,
// or without one (below 0) what a file that is made in the folder `home` gets; below 0 that is the folder that it is
// made in. Returns the errors of WriteFiles.
absl::Status WriteEntry(int root, const std::string& path, const task::v1::FileEntry& entry, int old, int home,
                        const ReadChunk& read_chunk, const std::string& target);

// Creates the set's files, links and folders below `root`, but those that are unchanged; none of them is there yet.
// Each file gets the metadata of the one at its path below the folder `old`, which may be none (below 0). `shown` is
// the target's path in errors. Returns FILE_DIGEST if a file does not come to its SHA-256, TARGET_CONFLICT if something
// else stands in the way, and the errors of `read_chunk`, DressFile and lib/base/file.h.
absl::Status WriteFiles(int root, int old, const NewSet& set, const std::string& shown);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_NEW_TREE_H_
