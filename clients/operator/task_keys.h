// A folder with the signing keys of tasks. A program that has a task's key can publish a revision of the task; the
// server cannot.
//
// Guarantees: files have mode 0600 and are durable on return; a key is never written over another one.
//
// Threads: a value as any other; its methods block.
#ifndef PARLEY_CLIENTS_OPERATOR_TASK_KEYS_H_
#define PARLEY_CLIENTS_OPERATOR_TASK_KEYS_H_

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/crypto/signature.h"

namespace parley::ops {

class TaskKeyFolder {
 public:
  // The folder is made when the first key is stored.
  explicit TaskKeyFolder(std::string folder) : folder_(std::move(folder)) {}

  // Returns "{folder}/{task_id}.key".
  std::string PathOf(const std::string& task_id) const;

  // Writes the seed as hexadecimal digits. Returns the errors of CanCreate (new_file.h) and of lib/base/file.h.
  absl::Status Store(const std::string& task_id, const crypto::SigningKey& key) const;
  // Returns the key; NOT_FOUND (NO_TASK_KEY), which says where it would be; INVALID_ARGUMENT (TASK_KEY_DAMAGED); or the
  // errors of ReadSecretFile.
  absl::StatusOr<crypto::SigningKey> Load(const std::string& task_id) const;
  // Removes the key, and what StoreSuperseded has kept.
  void Remove(const std::string& task_id) const;

  // Keeps the name of the task that this one was created to supersede, "tasks/{task}": each revision of this one names
  // it, because a client may join at any of them. Returns the errors of WriteFileAtomically.
  absl::Status StoreSuperseded(const std::string& task_id, const std::string& superseded) const;
  // Returns an empty name if there is none, or if the task was created elsewhere. Returns INVALID_ARGUMENT
  // (TASK_KEY_DAMAGED), or the errors of ReadFile.
  absl::StatusOr<std::string> LoadSuperseded(const std::string& task_id) const;

 private:
  std::string SupersededPath(const std::string& task_id) const;

  std::string folder_;
};

}  // namespace parley::ops

#endif  // PARLEY_CLIENTS_OPERATOR_TASK_KEYS_H_
