// Tasks' names as people type them.
#ifndef PARLEY_CLIENTS_CLI_TASK_NAME_H_
#define PARLEY_CLIENTS_CLI_TASK_NAME_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "clients/operator/ids.h"

namespace parley::cli {

// "tasks/{id}" of an id or a whole name; a usage error that shows the form.
absl::StatusOr<std::string> FullTaskName(absl::string_view id_or_name);
using ops::TaskId;

// A new id that begins with the name: "nginx-tls-7k3q". A usage error says what a name may be and proposes one.
absl::StatusOr<std::string> NewTaskId(absl::string_view name);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_TASK_NAME_H_
