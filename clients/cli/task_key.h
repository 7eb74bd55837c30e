// The signing keys of the tasks that were created here: who has one can publish a revision, the server can not.
#ifndef PARLEY_CLIENTS_CLI_TASK_KEY_H_
#define PARLEY_CLIENTS_CLI_TASK_KEY_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/crypto/signature.h"

namespace parley::cli {

// tasks/{task_id}.key in ConfigFolder().
std::string TaskKeyPath(const std::string& task_id);

// Writes the seed as hexadecimal digits, mode 0600; ALREADY_EXISTS when there is one.
absl::Status StoreTaskKey(const std::string& task_id, const crypto::SigningKey& key);
// NOT_FOUND (NO_TASK_KEY) says where it would be; INVALID_ARGUMENT when it is damaged.
absl::StatusOr<crypto::SigningKey> LoadTaskKey(const std::string& task_id);
// With what StoreSuperseded kept.
void RemoveTaskKey(const std::string& task_id);

// The task that this one was created to supersede, "tasks/{task}": each of its revisions names it, because a client may
// join at any of them. Empty when there is none, or when the task was created elsewhere.
absl::Status StoreSuperseded(const std::string& task_id, const std::string& superseded);
absl::StatusOr<std::string> LoadSuperseded(const std::string& task_id);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_TASK_KEY_H_
