#include "clients/agent/target_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "clients/agent/file_state.h"
#include "clients/agent/mount_table.h"
#include "clients/agent/mounts.h"
#include "clients/agent/target_error.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/file_lock.h"

namespace parley::agent {
namespace {

absl::Status TooLong(const std::string& path) {
  return Refuse("TARGET_ROOT", absl::StrCat("the name or path of ", path, " is too long for a target, beside which ",
                                            "updates are built; choose one with a shorter name"));
}

absl::StatusOr<std::string> Resolve(const std::string& path) {
  char resolved[PATH_MAX];
  if (realpath(path.c_str(), resolved) == nullptr) {
    return errno == ENAMETOOLONG ? TooLong(path) : FileError("open", path, errno);
  }
  return std::string(resolved);
}

// The target's real path; when it does not exist, that of its parent with its name.
absl::StatusOr<std::string> ResolveTarget(std::string target) {
  while (target.size() > 1 && target.back() == '/') target.pop_back();
  if (target.empty()) return Refuse("TARGET_ROOT", "no target folder was given");
  absl::StatusOr<std::string> resolved = Resolve(target);
  if (resolved.ok() || Reason(resolved.status()) != "FILE_NOT_FOUND") return resolved;
  struct stat info;
  if (lstat(target.c_str(), &info) == 0) {
    return Refuse("TARGET_NOT_FOLDER", absl::StrCat(target, " is a link that leads nowhere; make what it means"));
  }
  const size_t slash = target.rfind('/');
  const std::string name = target.substr(slash == std::string::npos ? 0 : slash + 1);
  const std::string above = slash == std::string::npos ? "." : slash == 0 ? "/" : target.substr(0, slash);
  if (name == "." || name == "..") return Refuse("TARGET_ROOT", absl::StrCat(target, " does not exist"));
  absl::StatusOr<std::string> parent = Resolve(above);
  if (Reason(parent.status()) == "FILE_NOT_FOUND") {
    return Refuse("TARGET_PARENT", absl::StrCat("cannot make ", target, ": ", above, " does not exist; make it first"));
  }
  RETURN_IF_ERROR(parent.status());
  return absl::StrCat(*parent == "/" ? "" : *parent, "/", name);
}

// The kernel's own file systems keep no files of anybody's.
bool IsKernelFileSystem(int folder) {
  struct statfs info;
  if (fstatfs(folder, &info) != 0) return false;
  const decltype(info.f_type) kinds[] = {PROC_SUPER_MAGIC, SYSFS_MAGIC,   CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC,
                                         DEBUGFS_MAGIC,    TRACEFS_MAGIC, SECURITYFS_MAGIC,   DEVPTS_SUPER_MAGIC,
                                         BPF_FS_MAGIC,     SELINUX_MAGIC, PSTOREFS_MAGIC,     EFIVARFS_MAGIC};
  return absl::c_linear_search(kinds, info.f_type);
}

absl::Status OfTheKernel(const std::string& path, absl::string_view wanted) {
  return Refuse("TARGET_MOUNT", absl::StrCat(path, " is a file system of the kernel's; choose another ", wanted));
}

absl::Status LockError(const std::string& target, const std::string& parent, int error) {
  switch (error) {
    case EWOULDBLOCK:
      return Refuse("TARGET_IN_USE", absl::StrCat("another parley process is updating ", target,
                                                  "; wait for it, or end it, and try again"));
    case EACCES:
    case EPERM:
      if (const Fd folder(open(parent.c_str(), O_PATH | O_CLOEXEC)); IsProtected(folder.get())) {
        return Refuse("TARGET_IMMUTABLE",
                      absl::StrCat("cannot update ", target, ": the new set is built beside it in ", parent,
                                   ", which may not be changed (chattr +i or +a); take ", "that flag away"));
      }
      return Error(absl::StatusCode::kPermissionDenied, "TARGET_PERMISSION",
                   absl::StrCat("no permission to update ", target, ": the new set is built beside it in ", parent,
                                "; run as a user who may write there"));
    case EEXIST:
    case ENOTDIR:
    case ELOOP:
      return Refuse("TARGET_PERMISSION", absl::StrCat("the place for updates beside ", target,
                                                      " is not a folder of this user's; remove it"));
    default:
      return FileError("update", target, error);
  }
}

// The place of another user may hold an old set of theirs.
absl::Status PlaceError(const std::string& target, const std::string& place, int error) {
  struct stat info;
  const bool is_folder = lstat(place.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
  if (error == EWOULDBLOCK || !is_folder || info.st_uid == geteuid()) return LockError(target, FolderOf(place), error);
  return Error(absl::StatusCode::kPermissionDenied, "TARGET_PERMISSION",
               absl::StrCat("updates of ", target, " are built in ", place, ", which belongs to another user (uid ",
                            info.st_uid, "); run as that user"));
}

// A process that was killed while it started a command leaves, for an instant, a child that still has its lock.
bool Lock(const Fd& folder) {
  for (int tries = 50; !TryLockFile(folder); --tries) {
    if (errno != EWOULDBLOCK || tries == 0) return false;
    usleep(5000);
  }
  return true;
}

bool IsSame(const Fd& a, const Fd& b) {
  struct stat first, second;
  return fstat(a.get(), &first) == 0 && fstat(b.get(), &second) == 0 && first.st_ino == second.st_ino &&
         first.st_dev == second.st_dev;
}

absl::Status Moved(const std::string& place) {
  return Error(absl::StatusCode::kAborted, "TARGET_CHANGED",
               absl::StrCat(place, " is not what it was: a folder above it was moved, or something was mounted or ",
                            "unmounted there; undo that"));
}

bool LeadsTo(const std::string& path, int fd) {
  struct stat named, held;
  return stat(path.c_str(), &named) == 0 && fstat(fd, &held) == 0 && named.st_ino == held.st_ino &&
         named.st_dev == held.st_dev;
}

}  // namespace

std::string PlaceName(absl::string_view target_name) { return absl::StrCat(".parley-", target_name); }

std::vector<std::string> PlacesOf(const std::string& target) {
  const std::string path(absl::StripSuffix(target, "/"));
  const size_t slash = path.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : path.substr(0, slash);
  const std::string name = path.substr(slash == std::string::npos ? 0 : slash + 1);
  return {absl::StrCat(parent, "/", PlaceName(name)), absl::StrCat(path, "/.parley")};
}

bool IsShownUndecided(const std::string& place) {
  if (access(absl::StrCat(place, "/journal").c_str(), F_OK) == 0) return true;
  struct stat info;
  return errno == EACCES && lstat(place.c_str(), &info) == 0 && (info.st_mode & S_ISVTX) != 0;
}

Fd LockFolder(const std::string& path) {
  while (true) {
    if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return Fd();
    Fd folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!folder.ok() && errno == ENOENT) continue;
    if (!folder.ok()) return Fd();
    struct stat held;
    if (fstat(folder.get(), &held) != 0) return Fd();
    // Somebody else's folder could be a trap.
    if (held.st_uid != geteuid() || (held.st_mode & 0077) != 0) {
      errno = EEXIST;
      return Fd();
    }
    if (!Lock(folder)) return Fd();
    // Whoever had it before may have removed it when he was done.
    if (LeadsTo(path, folder.get())) return folder;
  }
}

absl::Status TargetFolder::CheckKind() {
  struct stat info;
  if (fstatat(parent(), name_.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT && !IsKernelFileSystem(parent())) return absl::OkStatus();
    if (errno != ENOENT) return FileError("open", target_, errno);
    return OfTheKernel(parent_path_, "folder");
  }
  is_mount_ = IsMount(parent(), name_);
  if (kind_ == Kind::kFile) {
    if (S_ISDIR(info.st_mode)) return Refuse("TARGET_NOT_FOLDER", absl::StrCat(target_, " is a folder, not a file"));
    if (!S_ISREG(info.st_mode)) return Refuse("TARGET_NOT_FOLDER", absl::StrCat(target_, " is not a plain file"));
    if (IsKernelFileSystem(parent())) return OfTheKernel(parent_path_, "file");
    if (!is_mount_) return absl::OkStatus();
    return Refuse("TARGET_MOUNT", absl::StrCat(target_, " is mounted by itself, so that no other file can take its ",
                                               "place; mount the folder that holds it instead"));
  }
  if (!S_ISDIR(info.st_mode)) return Refuse("TARGET_NOT_FOLDER", absl::StrCat(target_, " is not a folder"));
  // What another volume of the same disk holds cannot be renamed into this one either.
  struct stat above;
  is_mount_ = is_mount_ || (fstat(parent(), &above) == 0 && above.st_dev != info.st_dev);
  const Fd root = OpenRoot();
  if (target_ != "/dev" && (!root.ok() || !IsKernelFileSystem(root.get()))) return absl::OkStatus();
  return OfTheKernel(target_, "folder");
}

absl::Status TargetFolder::ChoosePlace() {
  place_path_ = PlacesOf(target_)[is_mount_ ? 1 : 0];
  // The longest path in it, while that file is written.
  const size_t longest = place_path_.size() + sizeof("/journal.XXXXXX");
  if (longest > PATH_MAX || (!is_mount_ && PlaceName(name_).size() > NAME_MAX)) return TooLong(target_);
  const bool unfinished =
      faccessat(parent(), absl::StrCat(PlaceName(name_), "/journal").c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
  if (!is_mount_ || !unfinished) return absl::OkStatus();
  return Refuse("TARGET_MOUNT", absl::StrCat("something was mounted over ", target_,
                                             " before an update of it had ended; unmount it, and try again"));
}

Fd TargetFolder::OpenRoot() const {
  if (kind_ == Kind::kFile) return Fd(openat(parent(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return Fd(openat(parent(), name_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

absl::Status TargetFolder::Locate(const std::string& target) {
  ASSIGN_OR_RETURN(target_, ResolveTarget(target));
  if (target_ == "/") return Refuse("TARGET_ROOT", "/ cannot be a target; choose a folder below it");
  if (absl::StrContains(absl::StrCat(target_, "/"), "/.parley/") || absl::StrContains(target_, "/.parley-")) {
    return Refuse("TARGET_ROOT", absl::StrCat(target_, " lies in a folder in which updates of another target are ",
                                              "built; choose another folder"));
  }
  const size_t slash = target_.rfind('/');
  parent_path_ = slash == 0 ? "/" : target_.substr(0, slash);
  name_ = target_.substr(slash + 1);
  parent_ = Fd(open(parent_path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!parent_.ok()) return LockError(target_, parent_path_, errno);
  RETURN_IF_ERROR(CheckKind());
  return ChoosePlace();
}

absl::StatusOr<std::unique_ptr<TargetFolder>> TargetFolder::Open(const std::string& target, Kind kind) {
  std::unique_ptr<TargetFolder> folder(new TargetFolder());
  folder->kind_ = kind;
  RETURN_IF_ERROR(folder->Locate(target));
  folder->place_ = LockFolder(folder->place_path_);
  if (!folder->place_.ok()) return PlaceError(folder->target_, folder->place_path_, errno);
  return folder;
}

absl::Status TargetFolder::Examine(const std::string& target, Kind kind) {
  TargetFolder folder;
  folder.kind_ = kind;
  return folder.Locate(target);
}

TargetFolder::~TargetFolder() {
  // Only an empty folder goes, and only the one that is held, while the lock is held.
  if (place_.ok() && LeadsTo(place_path_, place_.get())) rmdir(place_path_.c_str());
}

bool TargetFolder::IsOwnPlace(const std::string& path) const { return LeadsTo(path, place()); }

bool TargetFolder::IsParentCurrent() const { return LeadsTo(parent_path_, parent()); }

bool TargetFolder::IsLink() const {
  struct stat info;
  return fstatat(parent(), name_.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(info.st_mode);
}

absl::Status TargetFolder::EnsurePlace() {
  struct stat held;
  if (fstat(place(), &held) != 0) return FileError("read", place_path_, errno);
  if (held.st_nlink == 0) {
    lost_place_ = true;
    const Fd made = LockFolder(place_path_);
    // Under the number of the former one, which other threads may be looking at.
    if (made.ok() && dup3(made.get(), place(), O_CLOEXEC) >= 0) return absl::OkStatus();
    return PlaceError(target_, place_path_, errno);
  }
  return FollowMounts();
}

// A file system that was unmounted by force may be mounted again. Nothing can be renamed from one mount to another one.
absl::Status TargetFolder::FollowMounts() {
  const Fd parent_now(open(parent_path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const Fd place_now(open(place_path_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!parent_now.ok() || !place_now.ok()) {
    if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP) return PlaceError(target_, place_path_, errno);
    return Moved(place_path_);
  }
  if (!IsSame(parent_now, parent_) || !IsSame(place_now, place_)) return Moved(place_path_);
  const bool same_place = MountIdOf(place_now.get()) == MountIdOf(place());
  if (same_place && MountIdOf(parent_now.get()) == MountIdOf(parent())) return absl::OkStatus();
  // The lock of the place goes with the former descriptor.
  if (dup3(parent_now.get(), parent(), O_CLOEXEC) >= 0 && dup3(place_now.get(), place(), O_CLOEXEC) >= 0 &&
      Lock(place_)) {
    return absl::OkStatus();
  }
  return PlaceError(target_, place_path_, errno);
}

void TargetFolder::ShowUndecided(bool undecided) {
  struct stat held;
  if (fstat(place(), &held) != 0 || ((held.st_mode & S_ISVTX) != 0) == undecided) return;
  fchmod(place(), (held.st_mode ^ S_ISVTX) & 07777);
}

bool TargetFolder::IsCurrent() const {
  if (!IsParentCurrent() || !IsOwnPlace(place_path_)) return false;
  struct stat above, info;
  if (fstatat(parent(), name_.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return !is_mount_;
  const bool other_disk = fstat(parent(), &above) == 0 && above.st_dev != info.st_dev && S_ISDIR(info.st_mode);
  return is_mount_ == (IsMount(parent(), name_) || other_disk);
}

}  // namespace parley::agent
