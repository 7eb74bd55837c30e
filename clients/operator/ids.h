// The ids of tasks, which the program that creates a task makes.
//
// Threads: free functions without state.
#ifndef PARLEY_CLIENTS_OPERATOR_IDS_H_
#define PARLEY_CLIENTS_OPERATOR_IDS_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace parley::ops {

// The most bytes of a name to which NewTaskId still can add.
inline constexpr size_t kMaxTaskNameBytes = 27;

// Returns whether NewTaskId takes the name: 1 to 27 of a-z, 0-9 and '-', a letter first and no '-' last.
bool IsTaskName(absl::string_view name);
// Returns whether a task may have this id: 3 to 32 bytes, and otherwise as a name.
bool IsTaskId(absl::string_view id);

// Returns "{id}" of "tasks/{id}".
std::string TaskId(absl::string_view name);
// Returns a new id that begins with `name`, for which IsTaskName holds: "nginx-tls-7k3q".
std::string NewTaskId(absl::string_view name);

}  // namespace parley::ops

#endif  // PARLEY_CLIENTS_OPERATOR_IDS_H_
