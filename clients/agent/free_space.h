// How much may still be written to file systems.
//
// Threads: any thread may call the functions.
#ifndef PARLEY_CLIENTS_AGENT_FREE_SPACE_H_
#define PARLEY_CLIENTS_AGENT_FREE_SPACE_H_

#include <sys/statvfs.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace parley::agent {

// Returns the number of bytes, at least 1, or 0 if the file system does not say: some in memory and of FUSE give no
// size.
inline int64_t FreeBytes(const struct statvfs& space) {
  if (space.f_blocks == 0) return 0;
  const uint64_t bytes = static_cast<uint64_t>(space.f_bavail) * space.f_frsize;
  return static_cast<int64_t>(std::clamp<uint64_t>(bytes, 1, uint64_t{1} << 60));
}

// Returns the least number of bytes among the file systems of the folders; 0 if none of them says it.
inline int64_t FreeBytes(const std::vector<std::string>& folders) {
  int64_t least = 0;
  for (const std::string& folder : folders) {
    struct statvfs space;
    const int64_t bytes = statvfs(folder.c_str(), &space) == 0 ? FreeBytes(space) : 0;
    if (bytes > 0 && (least == 0 || bytes < least)) least = bytes;
  }
  return least;
}

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_FREE_SPACE_H_
