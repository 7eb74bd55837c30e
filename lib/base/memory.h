// Tells how much memory this process may use.
#ifndef PARLEY_LIB_BASE_MEMORY_H_
#define PARLEY_LIB_BASE_MEMORY_H_

#include <cstdint>
#include <string>

namespace parley {

// Returns the bytes of memory of the machine, or the limit of the process's control group (version 1 or 2) if that is
// lower. `cgroup` is where control groups are mounted; `self` is the file that names the process's group in version 2.
// A file that cannot be read sets no limit.
int64_t UsableMemory(const std::string& cgroup = "/sys/fs/cgroup", const std::string& self = "/proc/self/cgroup");

}  // namespace parley

#endif  // PARLEY_LIB_BASE_MEMORY_H_
