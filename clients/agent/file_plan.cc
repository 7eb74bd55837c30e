// What a set changes in a target, file by file.
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <map>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "clients/agent/file_method.h"
#include "clients/agent/file_state.h"
#include "clients/agent/mounts.h"
#include "clients/agent/target_error.h"
#include "clients/agent/tree.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"
#include "lib/payload/beneath.h"

namespace parley::agent {
namespace {

using task::v1::FileEntry;

absl::Status Protected(const std::string& what) {
  return Refuse("TARGET_IMMUTABLE", absl::StrCat(what,
                                                 " may not be changed (chattr +i or +a); take that flag away, or "
                                                 "take the path out of the set"));
}

class Planner {
 public:
  Planner(const TargetFolder& folder, const NewSet& set, int root) : folder_(folder), set_(set), root_(root) {}

  absl::StatusOr<std::vector<PlannedStep>> Run() {
    for (const FileEntry& entry : set_.manifest->files()) {
      if (set_.unchanged.count(entry.path()) == 0) RETURN_IF_ERROR(Put(entry));
    }
    for (const std::string& path : set_.dropped) RETURN_IF_ERROR(AddRemoval(path));
    return std::move(steps_);
  }

 private:
  std::string Shown(const std::string& path) const { return absl::StrCat(folder_.root_path(), "/", path); }

  // What is at the path, on the target's own mount; none when nothing is.
  absl::StatusOr<std::optional<struct statx>> Stat(const std::string& path, const std::string& wanted) const {
    const Fd above = OpenFolderOnMount(root_, path);
    struct statx info;
    if (!above.ok() && errno == EXDEV) return Mounted(path, wanted);
    if (!above.ok() && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)) return std::nullopt;
    if (!above.ok()) return FileError("read", Shown(path), errno);
    if (!StatEntry(above.get(), payload::LastPart(path), &info)) {
      if (errno == ENOENT) return std::nullopt;
      return FileError("read", Shown(path), errno);
    }
    if (IsMountRoot(above.get(), info)) return Mounted(path, wanted);
    return info;
  }

  absl::Status Mounted(const std::string& path, const std::string& wanted) const {
    return Refuse("TARGET_MOUNT",
                  absl::StrCat("something is mounted at ", Shown(path), " (or above it), where the set has ", wanted,
                               "; take that out of the set, or unmount it"));
  }

  absl::Status CheckFolder(const std::string& path) const {
    const Fd above = OpenFolderOnMount(root_, path);
    if (!above.ok()) return FileError("read", Shown(path), errno);
    // Into one that is append-only a file can be put, and not taken out again.
    if (IsProtected(above.get())) return Protected(absl::StrCat("the folder of ", Shown(path)));
    if (faccessat(above.get(), ".", W_OK | X_OK, AT_EACCESS) != 0) {
      return Error(absl::StatusCode::kPermissionDenied, "TARGET_PERMISSION",
                   absl::StrCat("no permission to change ", Shown(path), ": ", ErrnoText(errno),
                                "; run as a user who may write there"));
    }
    return absl::OkStatus();
  }

  absl::Status CheckReplaceable(const std::string& path, const struct statx& info) const {
    if (IsProtected(info)) return Protected(Shown(path));
    if (S_ISDIR(info.stx_mode)) return CheckHoldsOnlyDropped(path);
    if (S_ISREG(info.stx_mode) || S_ISLNK(info.stx_mode)) return absl::OkStatus();
    return Refuse("TARGET_SPECIAL_FILE", absl::StrCat(Shown(path), " is a device, socket or pipe, and the payload has ",
                                                      "a file there; move it away"));
  }

  absl::Status CheckHoldsOnlyDropped(const std::string& path) const {
    const Fd folder = OpenOnMount(root_, path, O_RDONLY | O_DIRECTORY);
    if (!folder.ok()) return InTheWay(Shown(path), "file");
    const absl::Status walked = WalkTree(
        folder.get(), Shown(path), [&](int, const std::string& inner, const struct statx& info, bool is_mount) {
          const std::string whole = absl::StrCat(path, "/", inner);
          const bool goes = !is_mount && (set_.dropped.count(whole) > 0 || S_ISDIR(info.stx_mode));
          if (!goes) return InTheWay(Shown(path), "file");
          return IsProtected(info) ? Protected(Shown(whole)) : absl::OkStatus();
        });
    return walked.ok() || Reason(walked) == "TARGET_IMMUTABLE" ? walked : InTheWay(Shown(path), "file");
  }

  // Whether the folder or file, which lies in this target, is another one, with a place beside it.
  bool IsTarget(const std::string& path) const {
    if (folder_.kind() == TargetFolder::Kind::kFile) return false;
    const Fd above = OpenFolderOnMount(root_, path);
    const std::string record = absl::StrCat(PlaceName(payload::LastPart(path)), "/record");
    if (!above.ok()) return false;
    // A place of another user's, into which this one may not look, is one too.
    return faccessat(above.get(), record.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno == EACCES;
  }

  absl::Status CheckNested(const std::string& path) const {
    if (!IsTarget(path)) return absl::OkStatus();
    return Refuse(
        "TARGET_IN_USE",
        absl::StrCat(Shown(path), " is a target of its own, which other updates change; take it out of this ",
                     "set, or, if it is none any more, remove ", PlaceName(payload::LastPart(path)), " beside it"));
  }

  absl::Status Put(const FileEntry& entry) {
    const std::string path = folder_.OnDisk(entry.path());
    for (size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) {
      const std::string above = path.substr(0, slash);
      if (const auto planned = by_path_.find(above); planned != by_path_.end()) {
        steps_[planned->second].entries.push_back(&entry);
        return absl::OkStatus();
      }
      ASSIGN_OR_RETURN(const std::optional<struct statx> info, Stat(above, path));
      if (info.has_value() && S_ISDIR(info->stx_mode)) {
        RETURN_IF_ERROR(CheckNested(above));
        continue;
      }
      // Something that the task has installed may give way to a folder; nothing else.
      if (info.has_value() && set_.dropped.count(above) == 0) return InTheWay(Shown(above), "folder");
      return Add(above, &entry, info);
    }
    RETURN_IF_ERROR(CheckNested(path));
    ASSIGN_OR_RETURN(const std::optional<struct statx> info, Stat(path, path));
    return Add(path, &entry, info);
  }

  absl::Status AddRemoval(const std::string& path) {
    for (const PlannedStep& step : steps_) {
      if (path == step.path || absl::StartsWith(path, absl::StrCat(step.path, "/"))) return absl::OkStatus();
    }
    // It belongs to another target by now.
    for (size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) {
      if (IsTarget(path.substr(0, slash))) return absl::OkStatus();
    }
    if (IsTarget(path)) return absl::OkStatus();
    ASSIGN_OR_RETURN(const std::optional<struct statx> info, Stat(path, path));
    // What is a folder by now is not what was installed.
    if (!info.has_value() || S_ISDIR(info->stx_mode)) return absl::OkStatus();
    return Add(path, nullptr, info);
  }

  absl::Status Add(const std::string& path, const FileEntry* entry, const std::optional<struct statx>& info) {
    RETURN_IF_ERROR(CheckFolder(path));
    if (info.has_value()) RETURN_IF_ERROR(CheckReplaceable(path, *info));
    PlannedStep step;
    step.path = path;
    if (entry != nullptr) step.entries.push_back(entry);
    step.replaces = info.has_value();
    if (info.has_value()) {
      step.old_state = FileState(*info);
      step.old_id = FileIdOf(*info);
    }
    by_path_[path] = steps_.size();
    steps_.push_back(std::move(step));
    return absl::OkStatus();
  }

  const TargetFolder& folder_;
  const NewSet& set_;
  const int root_;
  std::vector<PlannedStep> steps_;
  std::map<std::string, size_t> by_path_;
};

}  // namespace

absl::StatusOr<std::vector<PlannedStep>> PlanSteps(const TargetFolder& folder, const NewSet& set) {
  const Fd root = folder.OpenRoot();
  if (!root.ok()) return FileError("read", folder.root_path(), errno);
  return Planner(folder, set, root.get()).Run();
}

}  // namespace parley::agent
