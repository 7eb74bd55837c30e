#include "clients/agent/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/crypto/hash.h"
#include "lib/payload/beneath.h"

namespace parley::agent {
namespace {

using payload::Fd;

// Syncing file by file is faster for small trees, and does not wait for what others have written.
constexpr int64_t kMaxSingleSyncs = 512;

std::string Join(const std::string& folder, absl::string_view name) {
  return folder.empty() ? std::string(name) : absl::StrCat(folder, "/", name);
}

// Names in a folder, sorted.
absl::StatusOr<std::vector<std::string>> List(int folder, const std::string& shown) {
  Fd fd(openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  DIR* stream = fd.ok() ? fdopendir(fd.get()) : nullptr;
  if (stream == nullptr) return FileError("read", shown, errno);
  fd.release();
  absl::Cleanup close_it = [stream] { closedir(stream); };
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* entry = readdir(stream);
    if (entry == nullptr && errno != 0) return FileError("read", shown, errno);
    if (entry == nullptr) break;
    const absl::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Calls `visit` for everything below `root`, folders before what is in them. Does not keep folders open, so that a
// deep tree does not use up descriptors. `visit` gets the folder's descriptor, the entry's path from the root and
// what it is.
using Visit = std::function<absl::Status(int folder, const std::string& path, const struct stat& info)>;
absl::Status Walk(int root, const std::string& shown, const Visit& visit) {
  std::vector<std::string> folders = {""};
  while (!folders.empty()) {
    const std::string folder = std::move(folders.back());
    folders.pop_back();
    const Fd fd = payload::OpenBeneath(root, folder.empty() ? "." : folder, O_RDONLY | O_DIRECTORY);
    if (!fd.ok()) return FileError("read", Join(shown, folder), errno);
    ASSIGN_OR_RETURN(const std::vector<std::string> names, List(fd.get(), Join(shown, folder)));
    for (const std::string& name : names) {
      const std::string path = Join(folder, name);
      struct stat info;
      if (fstatat(fd.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
        return FileError("read", Join(shown, path), errno);
      }
      RETURN_IF_ERROR(visit(fd.get(), path, info));
      if (S_ISDIR(info.st_mode)) folders.push_back(path);
    }
  }
  return absl::OkStatus();
}

// Attributes that this user may not set (security.*, trusted.*) or that the file system does not have are left out.
void CopyAttributes(int from, int to) {
  const ssize_t size = flistxattr(from, nullptr, 0);
  if (size <= 0) return;
  std::string names(static_cast<size_t>(size), '\0');
  const ssize_t got = flistxattr(from, names.data(), names.size());
  if (got <= 0) return;
  names.resize(static_cast<size_t>(got));
  for (size_t start = 0; start < names.size();) {
    const std::string name = names.c_str() + start;
    start += name.size() + 1;
    const ssize_t length = fgetxattr(from, name.c_str(), nullptr, 0);
    if (length < 0) continue;
    std::string value(static_cast<size_t>(length), '\0');
    if (fgetxattr(from, name.c_str(), value.data(), value.size()) != length) continue;
    fsetxattr(to, name.c_str(), value.data(), value.size(), 0);
  }
}

// The owner first: changing it may take set-user-id bits away.
absl::Status CopyMetadata(int from, int to, const struct stat& info, const std::string& shown) {
  struct stat made;
  if (fstat(to, &made) != 0) return FileError("keep the owner of", shown, errno);
  if ((info.st_uid != made.st_uid || info.st_gid != made.st_gid) && fchown(to, info.st_uid, info.st_gid) != 0) {
    return FileError("keep the owner of", shown, errno);
  }
  CopyAttributes(from, to);
  if (fchmod(to, info.st_mode & 07777) != 0) return FileError("keep the mode of", shown, errno);
  const timespec times[2] = {info.st_atim, info.st_mtim};
  if (futimens(to, times) != 0) return FileError("keep the times of", shown, errno);
  return absl::OkStatus();
}

// Shares the blocks, or lets the kernel copy, or copies.
absl::Status CopyContent(int from, int to, const std::string& shown) {
  if (ioctl(to, FICLONE, from) == 0) return absl::OkStatus();
  while (true) {
    const ssize_t count = copy_file_range(from, nullptr, to, nullptr, size_t{1} << 30, 0);
    if (count > 0) continue;
    if (count == 0) return absl::OkStatus();
    if (errno == EINTR) continue;
    if (errno != EXDEV && errno != EINVAL && errno != EOPNOTSUPP && errno != ENOSYS) {
      return FileError("copy", shown, errno);
    }
    break;
  }
  std::string buffer(size_t{1} << 17, '\0');
  while (true) {
    const ssize_t count = read(from, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return FileError("read", shown, errno);
    if (count == 0) return absl::OkStatus();
    for (ssize_t done = 0; done < count;) {
      const ssize_t written = write(to, buffer.data() + done, static_cast<size_t>(count - done));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return FileError("write a copy of", shown, errno);
      done += written;
    }
  }
}

absl::Status CopyFile(int from_folder, int to_folder, const std::string& name, const std::string& shown) {
  const Fd from(openat(from_folder, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat info;
  if (!from.ok() || fstat(from.get(), &info) != 0) return FileError("read", shown, errno);
  const Fd to(openat(to_folder, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!to.ok()) return FileError("write a copy of", shown, errno);
  RETURN_IF_ERROR(CopyContent(from.get(), to.get(), shown));
  return CopyMetadata(from.get(), to.get(), info, shown);
}

absl::Status CopyLink(int from_folder, int to_folder, const std::string& name, const struct stat& info,
                      const std::string& shown) {
  char target[4096 + 1];
  const ssize_t size = readlinkat(from_folder, name.c_str(), target, sizeof(target) - 1);
  if (size < 0) return FileError("read", shown, errno);
  target[size] = '\0';
  if (symlinkat(target, to_folder, name.c_str()) != 0) return FileError("write a copy of", shown, errno);
  if ((info.st_uid != geteuid() || info.st_gid != getegid()) &&
      fchownat(to_folder, name.c_str(), info.st_uid, info.st_gid, AT_SYMLINK_NOFOLLOW) != 0) {
    return FileError("keep the owner of", shown, errno);
  }
  const timespec times[2] = {info.st_atim, info.st_mtim};
  utimensat(to_folder, name.c_str(), times, AT_SYMLINK_NOFOLLOW);
  return absl::OkStatus();
}

absl::Status SyncOne(int folder, const std::string& name, int flags, const std::string& shown) {
  const Fd fd(openat(folder, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | flags));
  // A file that its owner may not read cannot be opened, unless by root; its folder's sync has to do.
  if (!fd.ok() && errno == EACCES) return absl::OkStatus();
  if (!fd.ok() || fsync(fd.get()) != 0) return FileError("write", shown, errno);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> Fingerprint(int root, const std::string& shown, const TreeLimits& limits) {
  struct stat top;
  if (fstat(root, &top) != 0) return FileError("read", shown, errno);
  crypto::Sha256Stream stream;
  int64_t entries = 0, bytes = 0;
  RETURN_IF_ERROR(Walk(root, shown, [&](int, const std::string& path, const struct stat& info) {
    // An overlay gives files, unlike folders, the device of their layer.
    if (S_ISDIR(info.st_mode) && info.st_dev != top.st_dev) {
      return Error(
          absl::StatusCode::kFailedPrecondition, "TARGET_MOUNT",
          absl::StrCat(shown, "/", path, " is a mounted file system, which cannot be swapped with its folder; ",
                       "choose a folder that has none inside"));
    }
    if (!S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode) && !S_ISLNK(info.st_mode)) {
      return Error(
          absl::StatusCode::kFailedPrecondition, "TARGET_SPECIAL_FILE",
          absl::StrCat(shown, "/", path, " is a device, socket or pipe, which cannot be copied; move it away"));
    }
    if (S_ISREG(info.st_mode)) bytes += info.st_size;
    if (++entries > limits.max_entries || bytes > limits.max_bytes) {
      return Error(absl::StatusCode::kFailedPrecondition, "TARGET_TOO_LARGE",
                   absl::StrCat(shown, " has more than ", limits.max_entries, " entries or ", limits.max_bytes >> 20,
                                " MiB, too much to copy for an update; choose the folder of the files alone"));
    }
    // A folder's change time also moves when its parent is renamed; what is in it says enough.
    const auto time = [&](const timespec& t) {
      return S_ISDIR(info.st_mode) ? "" : absl::StrCat(t.tv_sec, ".", t.tv_nsec);
    };
    stream.Update(absl::StrCat(path, std::string(1, '\0'), info.st_ino, " ", info.st_mode, " ", info.st_uid, " ",
                               info.st_gid, " ", S_ISDIR(info.st_mode) ? 0 : info.st_size, " ", time(info.st_mtim), " ",
                               time(info.st_ctim), "\n"));
    return absl::OkStatus();
  }));
  return stream.Finish();
}

absl::Status CopyTree(int from, int to, const std::string& shown,
                      const std::function<bool(const std::string& path)>& skip) {
  std::vector<std::string> folders = {"."};
  RETURN_IF_ERROR(Walk(from, shown, [&](int folder, const std::string& path, const struct stat& info) -> absl::Status {
    if (!S_ISDIR(info.st_mode) && skip(path)) return absl::OkStatus();
    const Fd destination = payload::OpenFolderBeneath(to, path);
    if (!destination.ok()) return FileError("write a copy of", Join(shown, path), errno);
    const std::string name = payload::LastPart(path);
    if (S_ISREG(info.st_mode)) return CopyFile(folder, destination.get(), name, Join(shown, path));
    if (S_ISLNK(info.st_mode)) return CopyLink(folder, destination.get(), name, info, Join(shown, path));
    if (mkdirat(destination.get(), name.c_str(), 0700) != 0)
      return FileError("write a copy of", Join(shown, path), errno);
    folders.push_back(path);
    return absl::OkStatus();
  }));
  // Last, and the inner ones first: writing into a folder changes its time, and may need a mode it will not have.
  for (auto path = folders.rbegin(); path != folders.rend(); ++path) {
    const Fd source = payload::OpenBeneath(from, *path, O_RDONLY | O_DIRECTORY);
    const Fd destination = payload::OpenBeneath(to, *path, O_RDONLY | O_DIRECTORY);
    struct stat info;
    if (!source.ok() || !destination.ok() || fstat(source.get(), &info) != 0) {
      return FileError("write a copy of", Join(shown, *path), errno);
    }
    RETURN_IF_ERROR(CopyMetadata(source.get(), destination.get(), info, Join(shown, *path)));
  }
  return absl::OkStatus();
}

absl::Status RemoveTree(int parent, const std::string& name, const std::string& shown) {
  const Fd root(openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!root.ok() && errno == ENOENT) return absl::OkStatus();
  if (!root.ok()) return FileError("remove", shown, errno);
  std::vector<std::string> folders;
  RETURN_IF_ERROR(Walk(root.get(), shown, [&](int folder, const std::string& path, const struct stat& info) {
    if (S_ISDIR(info.st_mode)) {
      folders.push_back(path);
      fchmodat(folder, payload::LastPart(path).c_str(), (info.st_mode & 07777) | 0700, 0);
      return absl::OkStatus();
    }
    if (unlinkat(folder, payload::LastPart(path).c_str(), 0) != 0) return FileError("remove", Join(shown, path), errno);
    return absl::OkStatus();
  }));
  for (auto path = folders.rbegin(); path != folders.rend(); ++path) {
    const Fd folder = payload::OpenFolderBeneath(root.get(), *path);
    if (!folder.ok() || unlinkat(folder.get(), payload::LastPart(*path).c_str(), AT_REMOVEDIR) != 0) {
      return FileError("remove", Join(shown, *path), errno);
    }
  }
  if (unlinkat(parent, name.c_str(), AT_REMOVEDIR) != 0) return FileError("remove", shown, errno);
  return absl::OkStatus();
}

absl::Status SyncTree(int root, const std::string& shown) {
  std::vector<std::string> paths;
  RETURN_IF_ERROR(Walk(root, shown, [&paths](int, const std::string& path, const struct stat& info) {
    if (!S_ISLNK(info.st_mode)) paths.push_back(path);
    return absl::OkStatus();
  }));
  if (static_cast<int64_t>(paths.size()) > kMaxSingleSyncs) {
    return syncfs(root) == 0 ? absl::OkStatus() : FileError("write", shown, errno);
  }
  for (const std::string& path : paths) {
    const Fd folder = payload::OpenFolderBeneath(root, path);
    if (!folder.ok()) return FileError("write", Join(shown, path), errno);
    RETURN_IF_ERROR(SyncOne(folder.get(), payload::LastPart(path), O_NONBLOCK, Join(shown, path)));
  }
  return SyncOne(root, ".", O_DIRECTORY, shown);
}

}  // namespace parley::agent
