#include "clients/operator/join_key.h"

#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/keys/join_key.h"

namespace parley::ops {
absl::StatusOr<Secret> ComposeJoinKey(std::string* pasted, const std::string& task_id,
                                      absl::string_view verification_key) {
  const Secret from_server = Secret::Take(std::move(*pasted));
  // Whether it has expired is not for this machine's clock to say: the server has just made it.
  absl::StatusOr<keys::JoinKey> key = keys::ParseJoinKey(from_server, absl::InfinitePast());
  if (!key.ok()) return Annotate(key.status(), "the server's answer holds no good join key");
  key->task = task_id;
  key->verification_key = std::string(verification_key);
  return keys::FormatJoinKey(*key);
}

absl::StatusOr<std::string> WriteJoinKeyFile(const std::string& folder, const std::string& task_id, const Secret& key) {
  constexpr int kMostFiles = 100;
  const std::string stem = absl::StrCat(folder == "." ? "" : folder + "/", task_id);
  std::string path = stem + ".join";
  // An earlier key may still be somebody's only copy.
  for (int number = 2; access(path.c_str(), F_OK) == 0; ++number) {
    if (number > kMostFiles) {
      return Error(absl::StatusCode::kAlreadyExists, "JOIN_KEY_FILES",
                   absl::StrCat("there are ", kMostFiles, " join keys of ", task_id, " in ", folder,
                                "; delete those that nobody needs"));
    }
    path = absl::StrCat(stem, "-", number, ".join");
  }
  Secret line(key.size() + 1);
  key.Expose().copy(reinterpret_cast<char*>(line.mutable_bytes()), key.size());
  line.mutable_bytes()[key.size()] = '\n';
  RETURN_IF_ERROR(WriteSecretFile(path, line));
  return path;
}

}  // namespace parley::ops
