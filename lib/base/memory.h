// How much memory this process may use.
#ifndef PARLEY_LIB_BASE_MEMORY_H_
#define PARLEY_LIB_BASE_MEMORY_H_

#include <cstdint>
#include <string>

namespace parley {

// Bytes: the machine's memory, or the limit of the control group (version 1 or 2) that the process is in, where that is
// less. `cgroup` is where groups are mounted, and `self` the file that names the process's group in version 2; a file
// that cannot be read sets no limit.
int64_t UsableMemory(const std::string& cgroup = "/sys/fs/cgroup", const std::string& self = "/proc/self/cgroup");

}  // namespace parley

#endif  // PARLEY_LIB_BASE_MEMORY_H_
