#include "clients/cli/task_key.h"

#include <unistd.h>

#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "clients/cli/paths.h"
#include "clients/cli/task_name.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

namespace parley::cli {
namespace {

std::string TaskKeyFolder() { return ConfigFolder() + "/tasks"; }
std::string SupersededPath(const std::string& task_id) {
  return absl::StrCat(TaskKeyFolder(), "/", task_id, ".supersedes");
}

}  // namespace

std::string TaskKeyPath(const std::string& task_id) { return absl::StrCat(TaskKeyFolder(), "/", task_id, ".key"); }

absl::Status StoreTaskKey(const std::string& task_id, const crypto::SigningKey& key) {
  RETURN_IF_ERROR(MakeFolders(TaskKeyFolder(), 0700));
  const std::string path = TaskKeyPath(task_id);
  RETURN_IF_ERROR(CanCreate(path, "the task's signing key"));
  return WriteSecretFile(path, Secret::Take(HexEncode(key.seed().Expose()) + "\n"));
}

absl::StatusOr<crypto::SigningKey> LoadTaskKey(const std::string& task_id) {
  const std::string path = TaskKeyPath(task_id);
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

void RemoveTaskKey(const std::string& task_id) {
  unlink(TaskKeyPath(task_id).c_str());
  unlink(SupersededPath(task_id).c_str());
}

absl::Status StoreSuperseded(const std::string& task_id, const std::string& superseded) {
  return WriteFileAtomically(SupersededPath(task_id), superseded + "\n", 0600);
}

absl::StatusOr<std::string> LoadSuperseded(const std::string& task_id) {
  const absl::StatusOr<std::string> text = ReadFile(SupersededPath(task_id), 100);
  if (absl::IsNotFound(text.status())) return "";
  RETURN_IF_ERROR(text.status());
  return FullTaskName(absl::StripSuffix(*text, "\n"));
}

}  // namespace parley::cli
