// The names of tasks as people type them.
//
// Threads: free functions without state.
#ifndef PARLEY_CLIENTS_CLI_TASK_NAME_H_
#define PARLEY_CLIENTS_CLI_TASK_NAME_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "clients/operator/ids.h"

namespace parley::cli {

// Returns "tasks/{id}" for an id or a whole name, or a usage error that shows the form.
absl::StatusOr<std::string> FullTaskName(absl::string_view id_or_name);
using ops::TaskId;

// Returns a new id that begins with the name: "nginx-tls-7k3q". Returns a usage error that says what a name may be and
// proposes one.
absl::StatusOr<std::string> NewTaskId(absl::string_view name);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_TASK_NAME_H_
