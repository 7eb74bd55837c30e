// Where else the folders of a target are mounted: in other places of this mount namespace, and in other namespaces
// (containers), as far as this user may look.
//
// A mount shows a folder by itself, not by its name: after another folder has taken the name, who looks through the
// mount still sees the first one. The same holds for what is mounted in the folder elsewhere.
//
// Threads: any.
#ifndef PARLEY_CLIENTS_AGENT_MOUNT_TABLE_H_
#define PARLEY_CLIENTS_AGENT_MOUNT_TABLE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace parley::agent {

// In the lists of the kernel spaces, tabs, line ends and backslashes stand as a backslash and three octal digits.
std::string UnescapeMountField(absl::string_view text);

// One line of /proc/{process}/mountinfo.
struct MountLine {
  uint64_t id = 0;
  uint64_t parent = 0;
  // "8:1".
  std::string device;
  // The folder of the file system that is mounted, and where.
  std::string root;
  std::string point;
  // Folders that the mounted file system is made of, as whoever mounted it wrote them: the layers of an overlay, what a
  // program that serves a file system (FUSE) shows in another way, what eCryptfs encrypts.
  std::vector<std::string> layers;
};
std::vector<MountLine> ParseMounts(absl::string_view mountinfo);

// All mounts that can be seen, one table for each mount namespace.
struct MountTables {
  struct Table {
    // A process in the namespace; 0 for this one's.
    int process = 0;
    // Its name.
    std::string command;
    std::vector<MountLine> lines;
  };
  std::vector<Table> tables;

  // `proc` is "/proc"; nothing is read when it is empty.
  static MountTables Read(const std::string& proc);

  // A sentence that says who has mounted the folder or file at `path`, or with `below` something inside it, or has
  // mounted something there, or has made a file system of it; empty when nobody has. `mount_id` is that of the mount on
  // which `path` (absolute, without links) lies for this process.
  std::string UserOf(uint64_t mount_id, const std::string& path, bool below) const;
};

// Of the mount on which the open file lies; 0 when the kernel does not say.
uint64_t MountIdOf(int fd);

// MountTables::UserOf for one path, of which the folder `fd` lies on the same mount, with all below it.
std::string MountUserOf(int fd, const std::string& path, const std::string& proc);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_MOUNT_TABLE_H_
