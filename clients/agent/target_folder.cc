#include "clients/agent/workplace.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

namespace parley::agent {
namespace {

using payload::Fd;

absl::Status Refuse(absl::string_view reason, absl::string_view sentence) {
  return Error(absl::StatusCode::kFailedPrecondition, reason, sentence);
}

absl::StatusOr<std::string> Resolve(const std::string& path) {
  char resolved[PATH_MAX];
  if (realpath(path.c_str(), resolved) == nullptr) return FileError("open", path, errno);
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
    return Refuse("TARGET_NOT_FOLDER", absl::StrCat(target, " is a link that leads nowhere; make the folder it means"));
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

bool IsMountPoint(int parent, const std::string& name) {
  struct statx info;
  if (statx(parent, name.c_str(), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &info) != 0) return false;
  return (info.stx_attributes_mask & info.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

absl::Status CheckTarget(int parent, const std::string& name, const std::string& target) {
  struct stat info;
  if (fstatat(parent, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    return errno == ENOENT ? absl::OkStatus() : FileError("open", target, errno);
  }
  if (!S_ISDIR(info.st_mode)) return Refuse("TARGET_NOT_FOLDER", absl::StrCat(target, " is not a folder"));
  struct stat above;
  if (fstat(parent, &above) != 0) return FileError("open", target, errno);
  if (info.st_dev != above.st_dev || IsMountPoint(parent, name)) {
    return Refuse("TARGET_MOUNT",
                  absl::StrCat(target, " is a mounted file system, which cannot be swapped as a whole; ",
                               "choose a folder inside it"));
  }
  return absl::OkStatus();
}

absl::Status LockError(const std::string& target, const std::string& parent, int error) {
  switch (error) {
    case EWOULDBLOCK:
      return Refuse("TARGET_IN_USE", absl::StrCat("another parley process is updating ", target,
                                                  "; wait for it, or end it, and try again"));
    case EACCES:
    case EPERM:
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

// A process that was killed while it started a command leaves, for an instant, a child that still has its lock.
bool Lock(int fd) {
  for (int tries = 50; flock(fd, LOCK_EX | LOCK_NB) != 0; --tries) {
    if (errno != EWOULDBLOCK || tries == 0) return false;
    usleep(5000);
  }
  return true;
}

}  // namespace

Fd LockFolder(const std::string& path) {
  while (true) {
    if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return Fd();
    Fd folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!folder.ok() && errno == ENOENT) continue;
    if (!folder.ok()) return Fd();
    struct stat held, named;
    if (fstat(folder.get(), &held) != 0) return Fd();
    // Somebody else's folder could be a trap.
    if (held.st_uid != geteuid() || (held.st_mode & 0077) != 0) {
      errno = EEXIST;
      return Fd();
    }
    if (!Lock(folder.get())) return Fd();
    // Whoever had it before may have removed it when he was done.
    if (stat(path.c_str(), &named) == 0 && named.st_ino == held.st_ino && named.st_dev == held.st_dev) return folder;
  }
}

absl::StatusOr<std::unique_ptr<Workplace>> Workplace::Open(const std::string& target) {
  std::unique_ptr<Workplace> workplace(new Workplace());
  ASSIGN_OR_RETURN(workplace->target_, ResolveTarget(target));
  if (workplace->target_ == "/") return Refuse("TARGET_ROOT", "/ cannot be swapped; choose a folder below it");
  const size_t slash = workplace->target_.rfind('/');
  const std::string parent = slash == 0 ? "/" : workplace->target_.substr(0, slash);
  workplace->name_ = workplace->target_.substr(slash + 1);
  workplace->path_ = absl::StrCat(slash == 0 ? "" : parent, "/.parley-", workplace->name_);
  workplace->parent_ = Fd(open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!workplace->parent_.ok()) return LockError(workplace->target_, parent, errno);
  RETURN_IF_ERROR(CheckTarget(workplace->parent(), workplace->name_, workplace->target_));
  workplace->folder_ = LockFolder(workplace->path_);
  if (!workplace->folder_.ok()) return LockError(workplace->target_, parent, errno);
  return workplace;
}

void Workplace::BeginUpdate() {
  MutexLock lock(&mutex_);
  while (updating_) free_.Wait(&mutex_);
  updating_ = true;
}

void Workplace::EndUpdate() {
  MutexLock lock(&mutex_);
  updating_ = false;
  free_.NotifyOne();
}

Workplace::~Workplace() {
  // Only an empty folder goes; while the lock is held.
  if (folder_.ok()) rmdir(path_.c_str());
}

}  // namespace parley::agent
