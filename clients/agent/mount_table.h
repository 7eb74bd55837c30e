// Where else the folders of a target are mounted: in other places of this mount namespace, and in other namespaces
// (containers), as far as this user may look.
//
// A mount shows a folder by itself, not by its name: after another folder has taken the name, a program that looks
// through the mount still sees the first one. The same holds for what is mounted in the folder elsewhere.
//
// Threads: any thread may call the functions.
#ifndef PARLEY_CLIENTS_AGENT_MOUNT_TABLE_H_
#define PARLEY_CLIENTS_AGENT_MOUNT_TABLE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace parley::agent {

// Returns a field of a list of the kernel as it is: spaces, tabs, line ends and backslashes stand there as a backslash
// and three octal digits.
std::string UnescapeMountField(absl::string_view text);

// One line of /proc/{process}/mountinfo.
struct MountLine {
  uint64_t id = 0;
  uint64_t parent = 0;
  // Major and minor number: "8:1".
  std::string device;
  // The folder of the file system that is mounted, and where.
  std::string root;
  std::string point;
  // The folders that the mounted file system is made of, as they were written when it was mounted: the layers of an
  // overlay, what a program that serves a file system (FUSE) shows in another way, what eCryptfs encrypts.
  std::vector<std::string> layers;
};
// Returns the lines of such a file; those that cannot be read are left out.
std::vector<MountLine> ParseMounts(absl::string_view mountinfo);

// All mounts that can be seen, one table for each mount namespace.
struct MountTables {
  struct Table {
    // The number of a process in the namespace; 0 for that of this process.
    int process = 0;
    // The name of that process.
    std::string command;
    std::vector<MountLine> lines;
  };
  std::vector<Table> tables;

  // Reads what can be seen in `proc`, which is "/proc"; nothing if it is empty.
  static MountTables Read(const std::string& proc);

  // Returns a sentence that says where the folder or file at `path`, or with `below` something inside it, is mounted
  // too, what is mounted there, or which file system is made of it; empty if there is nothing of that. `mount_id` is
  // that of the mount on which `path` (absolute, without links) lies for this process.
  std::string UserOf(uint64_t mount_id, const std::string& path, bool below) const;

  // Returns the other paths of this process that lead to the same folder, which may be none.
  std::vector<std::string> OtherPathsOf(uint64_t mount_id, const std::string& path) const;
};

// Returns the id of the mount on which the open file lies; 0 if the kernel does not say.
uint64_t MountIdOf(int fd);

// Returns MountTables::UserOf for the path and all below it. The open folder `fd` lies on the same mount.
std::string MountUserOf(int fd, const std::string& path, const std::string& proc);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_MOUNT_TABLE_H_
