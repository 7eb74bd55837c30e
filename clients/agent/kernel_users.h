// What the kernel itself does with the files of a target. No process shows it: a loop device, swap space, an export to
// other machines, and whatever has a file open for writing without being a program that this user can see.
//
// Threads: any.
#ifndef PARLEY_CLIENTS_AGENT_KERNEL_USERS_H_
#define PARLEY_CLIENTS_AGENT_KERNEL_USERS_H_

#include <string>

#include "clients/agent/open_files.h"

namespace parley::agent {

enum class KernelUse {
  // A file of which the user has the content before its eyes goes on with the old one after a rename.
  kAny,
  // What the user writes would be lost.
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

// Whether anything at all, seen or unseen, has the regular file open for writing. `fd` is open for reading only. The
// kernel is asked by a lease that is given back at once. False when it does not answer, as for files of other users.
bool IsOpenForWriting(int fd);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_KERNEL_USERS_H_
