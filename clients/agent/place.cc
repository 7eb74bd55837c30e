#include "clients/agent/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "clients/agent/mount_table.h"
#include "clients/agent/target_error.h"
#include "clients/agent/tree.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"

namespace parley::agent {
namespace {

std::vector<std::string> TreesIn(const TargetFolder& folder) {
  std::vector<std::string> trees;
  for (const std::string& name : FolderNames(folder.place_path())) {
    const bool known = name == place::kTree || name == place::kNew || name == place::kOld;
    if (known || absl::StartsWith(name, place::kProbe) || absl::StartsWith(name, place::kAside)) trees.push_back(name);
  }
  return trees;
}

absl::Status Remove(const TargetFolder& folder, const std::string& name, const std::string& proc) {
  const std::string path = absl::StrCat(folder.place_path(), "/", name);
  const std::string user = MountUserOf(folder.place(), path, proc);
  if (!user.empty()) return Refuse("TARGET_MOUNT", user);
  return RemoveTree(folder.place(), name, folder.place_path());
}

// The new name; the old one when it cannot be renamed.
std::string Rename(const TargetFolder& folder, const std::string& name, absl::string_view prefix) {
  for (int number = 1;; ++number) {
    const std::string other = absl::StrCat(prefix, number);
    if (renameat2(folder.place(), name.c_str(), folder.place(), other.c_str(), RENAME_NOREPLACE) == 0) return other;
    if (errno == EEXIST) continue;
    if (errno == EINVAL && renameat(folder.place(), name.c_str(), folder.place(), other.c_str()) == 0) return other;
    return name;
  }
}

}  // namespace

void ClearPlace(const TargetFolder& folder, const std::string& proc) {
  for (const std::string& name : TreesIn(folder)) {
    const absl::Status status = Remove(folder, name, proc);
    if (status.ok()) continue;
    const std::string kept = absl::StartsWith(name, place::kAside) ? name : Rename(folder, name, place::kAside);
    LogWarning("a tree that is not needed any more was set aside",
               {{"path", absl::StrCat(folder.place_path(), "/", kept)}, {"error", std::string(status.message())}});
  }
}

void MoveForeignTreeAside(const TargetFolder& folder) {
  if (unlinkat(folder.place(), place::kTree, AT_REMOVEDIR) == 0) return;
  const std::string kept = Rename(folder, place::kTree, place::kKept);
  LogWarning("something else stood where the old set belongs, and is kept",
             {{"target", folder.target()}, {"path", absl::StrCat(folder.place_path(), "/", kept)}});
}

}  // namespace parley::agent
