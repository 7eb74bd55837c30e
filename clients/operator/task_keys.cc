#include "clients/operator/task_keys.h"

#include <unistd.h>

#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "clients/operator/ids.h"
#include "clients/operator/new_file.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

namespace parley::ops {

std::string TaskKeyFolder::PathOf(const std::string& task_id) const {
  return absl::StrCat(folder_, "/", task_id, ".key");
}

std::string TaskKeyFolder::SupersededPath(const std::string& task_id) const {
  return absl::StrCat(folder_, "/", task_id, ".supersedes");
}

absl::Status TaskKeyFolder::Store(const std::string& task_id, const crypto::SigningKey& key) const {
  RETURN_IF_ERROR(MakeFolders(folder_, 0700));
  const std::string path = PathOf(task_id);
  RETURN_IF_ERROR(CanCreate(path, "the task's signing key"));
  return WriteSecretFile(path, Secret::Take(HexEncode(key.seed().Expose()) + "\n"));
}

absl::StatusOr<crypto::SigningKey> TaskKeyFolder::Load(const std::string& task_id) const {
  const std::string path = PathOf(task_id);
  absl::StatusOr<Secret> text = ReadSecretFile(path, 100);
  if (absl::IsNotFound(text.status())) {
    return Error(absl::StatusCode::kNotFound, "NO_TASK_KEY",
                 absl::StrCat("the key that signs for ", task_id, " is not here; it is in ", path,
                              " where the task was created: publish from there"));
  }
  RETURN_IF_ERROR(text.status());
  std::optional<std::string> seed = HexDecode(absl::StripSuffix(text->Expose(), "\n"));
  if (!seed.has_value()) {
    return Error(absl::StatusCode::kInvalidArgument, "TASK_KEY_DAMAGED",
                 absl::StrCat(path, " does not hold a task's signing key; restore it from a backup"));
  }
  absl::StatusOr<crypto::SigningKey> key = crypto::SigningKey::FromSeed(Secret::Take(*std::move(seed)));
  if (!key.ok()) return Annotate(key.status(), path);
  return key;
}

void TaskKeyFolder::Remove(const std::string& task_id) const {
  unlink(PathOf(task_id).c_str());
  unlink(SupersededPath(task_id).c_str());
}

absl::Status TaskKeyFolder::StoreSuperseded(const std::string& task_id, const std::string& superseded) const {
  return WriteFileAtomically(SupersededPath(task_id), superseded + "\n", 0600);
}

absl::StatusOr<std::string> TaskKeyFolder::LoadSuperseded(const std::string& task_id) const {
  const std::string path = SupersededPath(task_id);
  const absl::StatusOr<std::string> text = ReadFile(path, 100);
  if (absl::IsNotFound(text.status())) return "";
  RETURN_IF_ERROR(text.status());
  const std::string id = TaskId(absl::StripSuffix(*text, "\n"));
  if (IsTaskId(id)) return "tasks/" + id;
  return Error(absl::StatusCode::kInvalidArgument, "TASK_KEY_DAMAGED",
               absl::StrCat(path, " does not hold a task's name; restore it from a backup"));
}

}  // namespace parley::ops
