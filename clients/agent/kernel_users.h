// What the kernel itself does with the files of a target. No process shows it: a loop device, swap space, an export to
// other machines, and whatever has a file open for writing without being a program that this user can see.
//
// Threads: any thread may call the functions.
#ifndef PARLEY_CLIENTS_AGENT_KERNEL_USERS_H_
#define PARLEY_CLIENTS_AGENT_KERNEL_USERS_H_

#include <string>

#include "clients/agent/open_files.h"

namespace parley::agent {

enum class KernelUse {
  // Any use counts: a user that only reads would go on with the old file after a rename.
  kAny,
  // Only a use that writes counts, because what is written would be lost.
  kWriting,
};

// Returns a sentence that names a loop device or swap space and the file among `files` that it uses; empty when there
// is none. `proc` is "/proc" and `sys` is "/sys"; what cannot be read there counts as unused.
std::string KernelUserOf(const FileIds& files, KernelUse use, const std::string& proc, const std::string& sys);

// Returns a sentence that names a process with a lock on one of the files or folders; empty when there is none. A lock
// belongs to the inode, so after a rename somebody else can take it a second time.
std::string LockHolderOf(const FileIds& ids, const std::string& proc);

// Returns a sentence when the folder at `path`, or one below it, is exported to other machines; empty when none is.
std::string ExportOf(const std::string& path, const std::string& proc);

// Returns whether anything at all, seen or unseen, has the regular file open for writing. `fd` is open for reading
// only. The kernel is asked by a lease that is given back at once. It does not answer for files of other users, which
// count as not open.
bool IsOpenForWriting(int fd);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_KERNEL_USERS_H_
