// Which programs have files or folders of a target open, as far as this user may look.
//
// A program that writes into an open file goes on writing into that file when another one has taken its name. A program
// that works in a folder, or holds or watches it, does not notice that another folder has taken the name.
//
// Threads: any thread may call the functions.
#ifndef PARLEY_CLIENTS_AGENT_OPEN_FILES_H_
#define PARLEY_CLIENTS_AGENT_OPEN_FILES_H_

#include <sys/stat.h>
#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>

#include "absl/container/flat_hash_set.h"

namespace parley::agent {

// Device and inode.
using FileId = std::pair<dev_t, ino_t>;
using FileIds = absl::flat_hash_set<FileId>;

// Returns what a path leads to, with links followed, or no value if that cannot be told. A file system that is away is
// not asked.
std::optional<FileId> FileIdOf(const std::string& path);
// Returns the same for what statx has said of an entry.
FileId FileIdOf(const struct statx& info);
// Returns whether a path leads to one of them.
bool LeadsToOneOf(const FileIds& ids, const std::string& path);

// Returns a sentence that names a program, other than this one, and one of the files that it has open for writing;
// empty if there is none. `proc` is "/proc"; with an empty one there is none.
std::string WriterOf(const FileIds& files, const std::string& proc);
// Returns the same for a program that works in one of the folders, or holds it open, or watches it.
std::string HolderOf(const FileIds& folders, const std::string& proc);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_OPEN_FILES_H_
