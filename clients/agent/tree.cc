#include "clients/agent/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "clients/agent/file_state.h"
#include "clients/agent/metadata.h"
#include "clients/agent/mounts.h"
#include "clients/agent/target_error.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"
#include "lib/crypto/hash.h"
#include "lib/payload/beneath.h"

namespace parley::agent {
namespace {

// Syncing file by file is faster for small trees, and does not wait for what others have written.
constexpr int64_t kMaxSingleSyncs = 512;

std::string Join(const std::string& folder, absl::string_view name) {
  return folder.empty() ? std::string(name) : absl::StrCat(folder, "/", name);
}

// Names in a folder, sorted.
absl::StatusOr<std::vector<std::string>> List(int folder, const std::string& shown) {
  Fd fd(openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  DIR* stream = fd.ok() ? fdopendir(fd.get()) : nullptr;
  if (stream == nullptr) return CopyError("read", shown, errno);
  fd.release();
  absl::Cleanup close_it = [stream] { closedir(stream); };
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* entry = readdir(stream);
    if (entry == nullptr && errno != 0) return CopyError("read", shown, errno);
    if (entry == nullptr) break;
    const absl::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool Vanished(int error) { return error == ENOENT || error == ENOTDIR || error == ELOOP; }

absl::Status MountInside(const std::string& shown, const std::string& path) {
  return Refuse("TARGET_MOUNT",
                absl::StrCat(Join(shown, path), " is mounted, and is not this folder's to copy, swap or remove"));
}

// Copies some bytes at the same place of the other file; 0 at the end of the file.
absl::StatusOr<int64_t> CopySome(int from, int to, int64_t offset, int64_t most, const std::string& shown) {
  off_t read_at = offset, write_at = offset;
  const ssize_t shared = copy_file_range(from, &read_at, to, &write_at, static_cast<size_t>(most), 0);
  if (shared >= 0) return shared;
  if (errno != EXDEV && errno != EINVAL && errno != EOPNOTSUPP && errno != ENOSYS && errno != EINTR) {
    return CopyError("copy", shown, errno);
  }
  std::string buffer(static_cast<size_t>(std::min<int64_t>(most, int64_t{1} << 17)), '\0');
  ssize_t count = -1;
  do count = pread(from, buffer.data(), buffer.size(), offset);
  while (count < 0 && errno == EINTR);
  if (count < 0) return CopyError("read", shown, errno);
  for (ssize_t done = 0; done < count;) {
    const ssize_t written = pwrite(to, buffer.data() + done, static_cast<size_t>(count - done), offset + done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return CopyError("write a copy of", shown, errno);
    done += written;
  }
  return count;
}

// Shares the blocks, or lets the kernel copy, or copies. Holes stay holes: a file may be larger than its disk.
absl::Status CopyContent(int from, int to, int64_t size, const std::string& shown) {
  if (ioctl(to, FICLONE, from) == 0) return absl::OkStatus();
  int64_t offset = 0;
  while (true) {
    const off_t data = lseek(from, offset, SEEK_DATA);
    // Nothing but a hole is left, or the file system does not tell.
    if (data < 0 && errno == ENXIO) break;
    offset = data < 0 ? offset : data;
    const off_t hole = data < 0 ? -1 : lseek(from, offset, SEEK_HOLE);
    const int64_t most = std::min<int64_t>(hole > offset ? hole - offset : int64_t{1} << 30, int64_t{1} << 30);
    ASSIGN_OR_RETURN(const int64_t count, CopySome(from, to, offset, most, shown));
    if (count == 0) break;
    offset += count;
  }
  struct stat copy;
  if (fstat(to, &copy) != 0) return CopyError("write a copy of", shown, errno);
  if (copy.st_size >= size || ftruncate(to, size) == 0) return absl::OkStatus();
  return CopyError("write a copy of", shown, errno);
}

absl::Status CopyFile(int from_folder, int to_folder, const std::string& name, const std::string& shown) {
  const Fd from = OpenOnMount(from_folder, name, O_RDONLY | O_NONBLOCK);
  struct stat info;
  if (!from.ok() && Vanished(errno)) return absl::OkStatus();
  if (!from.ok() || fstat(from.get(), &info) != 0) return CopyError("read", shown, errno);
  if (!S_ISREG(info.st_mode)) return absl::OkStatus();
  const Fd to(openat(to_folder, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!to.ok()) return CopyError("write a copy of", shown, errno);
  // While it is empty: whether its blocks are copied on writing cannot be said later.
  RETURN_IF_ERROR(CopyFlags(from.get(), to.get(), shown));
  RETURN_IF_ERROR(CopyContent(from.get(), to.get(), info.st_size, shown));
  return CopyMetadata(from.get(), to.get(), info, shown);
}

absl::Status CopyLink(int from_folder, int to_folder, const std::string& name, const struct statx& info,
                      const std::string& shown) {
  char target[4096 + 1];
  const ssize_t size = readlinkat(from_folder, name.c_str(), target, sizeof(target) - 1);
  if (size < 0 && (errno == ENOENT || errno == EINVAL)) return absl::OkStatus();
  if (size < 0) return CopyError("read", shown, errno);
  target[size] = '\0';
  if (symlinkat(target, to_folder, name.c_str()) != 0) return CopyError("write a copy of", shown, errno);
  if ((info.stx_uid != geteuid() || info.stx_gid != getegid()) &&
      fchownat(to_folder, name.c_str(), info.stx_uid, info.stx_gid, AT_SYMLINK_NOFOLLOW) != 0) {
    return CopyError("keep the owner of", shown, errno);
  }
  const timespec times[2] = {{info.stx_atime.tv_sec, info.stx_atime.tv_nsec},
                             {info.stx_mtime.tv_sec, info.stx_mtime.tv_nsec}};
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

absl::Status CheckExchangeable(const std::string& shown, const std::string& path, const struct statx& info,
                               bool is_mount) {
  if (is_mount) return MountInside(shown, path);
  if (!S_ISREG(info.stx_mode) && !S_ISDIR(info.stx_mode) && !S_ISLNK(info.stx_mode)) {
    return Refuse("TARGET_SPECIAL_FILE",
                  absl::StrCat(Join(shown, path), " is a device, socket or pipe, which cannot be copied"));
  }
  if (S_ISREG(info.stx_mode) && info.stx_nlink > 1) {
    return Refuse("TARGET_HARD_LINK",
                  absl::StrCat(Join(shown, path), " has other names (hard links), from which a copy would be apart"));
  }
  if (IsProtected(info)) {
    return Refuse("TARGET_IMMUTABLE", absl::StrCat(Join(shown, path), " may not be changed (chattr +i or +a)"));
  }
  return absl::OkStatus();
}

// All folders in the tree, in the order of a walk; TARGET_MOUNT when something is mounted inside.
absl::StatusOr<std::vector<std::string>> FoldersWithoutMounts(int root, const std::string& shown) {
  std::vector<std::string> folders;
  RETURN_IF_ERROR(WalkTree(root, shown, [&](int, const std::string& path, const struct statx& info, bool is_mount) {
    if (is_mount) return MountInside(shown, path);
    if (S_ISDIR(info.stx_mode)) folders.push_back(path);
    return absl::OkStatus();
  }));
  return folders;
}

}  // namespace

std::vector<std::string> FolderNames(const std::string& folder) {
  std::vector<std::string> names;
  DIR* stream = opendir(folder.c_str());
  if (stream == nullptr) return names;
  absl::Cleanup close_it = [stream] { closedir(stream); };
  while (const dirent* entry = readdir(stream)) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  return names;
}

absl::Status WalkTree(int root, const std::string& shown, const Visit& visit) {
  std::vector<std::string> folders = {""};
  while (!folders.empty()) {
    const std::string folder = std::move(folders.back());
    folders.pop_back();
    const Fd fd = OpenOnMount(root, folder.empty() ? "." : folder, O_RDONLY | O_DIRECTORY);
    if (!fd.ok() && Vanished(errno)) continue;
    if (!fd.ok() && errno == EXDEV) return MountInside(shown, folder);
    if (!fd.ok()) return CopyError("read", Join(shown, folder), errno);
    ASSIGN_OR_RETURN(const std::vector<std::string> names, List(fd.get(), Join(shown, folder)));
    for (const std::string& name : names) {
      const std::string path = Join(folder, name);
      struct statx info;
      if (!StatEntry(fd.get(), name, &info)) {
        if (errno == ENOENT) continue;
        return CopyError("read", Join(shown, path), errno);
      }
      const bool is_mount = IsMountRoot(fd.get(), info);
      RETURN_IF_ERROR(visit(fd.get(), path, info, is_mount));
      if (S_ISDIR(info.stx_mode) && !is_mount) folders.push_back(path);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> Fingerprint(int root, const std::string& shown, const TreeLimits& limits) {
  crypto::Sha256Stream stream;
  int64_t entries = 0, bytes = 0;
  RETURN_IF_ERROR(WalkTree(root, shown, [&](int, const std::string& path, const struct statx& info, bool is_mount) {
    RETURN_IF_ERROR(CheckExchangeable(shown, path, info, is_mount));
    if (S_ISREG(info.stx_mode)) bytes += static_cast<int64_t>(info.stx_size);
    if (++entries > limits.max_entries || bytes > limits.max_bytes) {
      return Refuse("TARGET_TOO_LARGE", absl::StrCat(shown, " has more than ", limits.max_entries, " entries or ",
                                                     limits.max_bytes >> 20, " MiB, too much to copy for an update"));
    }
    stream.Update(absl::StrCat(path, std::string(1, '\0'), FileState(info), "\n"));
    return absl::OkStatus();
  }));
  return stream.Finish();
}

absl::Status CopyTree(int from, int to, const std::string& shown,
                      const std::function<bool(const std::string& path)>& skip) {
  std::vector<std::string> folders = {"."};
  RETURN_IF_ERROR(WalkTree(
      from, shown, [&](int folder, const std::string& path, const struct statx& info, bool is_mount) -> absl::Status {
        if (is_mount) return MountInside(shown, path);
        if (!S_ISDIR(info.stx_mode) && skip(path)) return absl::OkStatus();
        const Fd destination = OpenFolderOnMount(to, path);
        if (!destination.ok()) return CopyError("write a copy of", Join(shown, path), errno);
        const std::string name = payload::LastPart(path);
        if (S_ISREG(info.stx_mode)) return CopyFile(folder, destination.get(), name, Join(shown, path));
        if (S_ISLNK(info.stx_mode)) return CopyLink(folder, destination.get(), name, info, Join(shown, path));
        if (!S_ISDIR(info.stx_mode)) return absl::OkStatus();
        if (mkdirat(destination.get(), name.c_str(), 0700) != 0) {
          return CopyError("write a copy of", Join(shown, path), errno);
        }
        folders.push_back(path);
        return absl::OkStatus();
      }));
  // Last, and the inner ones first: writing into a folder changes its time, and may need a mode it will not have.
  for (auto path = folders.rbegin(); path != folders.rend(); ++path) {
    const Fd source = OpenOnMount(from, *path, O_RDONLY | O_DIRECTORY);
    if (!source.ok() && Vanished(errno)) continue;
    const Fd destination = OpenOnMount(to, *path, O_RDONLY | O_DIRECTORY);
    struct stat info;
    if (!source.ok() || !destination.ok() || fstat(source.get(), &info) != 0) {
      return CopyError("write a copy of", Join(shown, *path), errno);
    }
    const std::string name = *path == "." ? shown : Join(shown, *path);
    RETURN_IF_ERROR(CopyFlags(source.get(), destination.get(), name));
    RETURN_IF_ERROR(CopyMetadata(source.get(), destination.get(), info, name));
  }
  return absl::OkStatus();
}

absl::Status RemoveTree(int parent, const std::string& name, const std::string& shown) {
  if (IsMount(parent, name)) return MountInside(shown, name);
  const Fd root = OpenOnMount(parent, name, O_RDONLY | O_DIRECTORY);
  if (!root.ok() && errno == ENOENT) return absl::OkStatus();
  if (!root.ok()) return FileError("remove", Join(shown, name), errno);
  const std::string tree = Join(shown, name);
  ASSIGN_OR_RETURN(const std::vector<std::string> folders, FoldersWithoutMounts(root.get(), tree));
  // Where this user may not write, as in a folder that was copied with its mode.
  for (const std::string& path : folders) {
    const Fd folder = OpenOnMount(root.get(), path, O_RDONLY | O_DIRECTORY);
    struct stat info;
    if (folder.ok() && fstat(folder.get(), &info) == 0 && (info.st_mode & 0700) != 0700) {
      fchmod(folder.get(), (info.st_mode & 07777) | 0700);
    }
  }
  RETURN_IF_ERROR(
      WalkTree(root.get(), tree, [&](int folder, const std::string& path, const struct statx& info, bool is_mount) {
        if (is_mount) return MountInside(tree, path);
        if (S_ISDIR(info.stx_mode) || unlinkat(folder, payload::LastPart(path).c_str(), 0) == 0)
          return absl::OkStatus();
        return FileError("remove", Join(tree, path), errno);
      }));
  for (auto path = folders.rbegin(); path != folders.rend(); ++path) {
    const Fd folder = OpenFolderOnMount(root.get(), *path);
    if (!folder.ok() || unlinkat(folder.get(), payload::LastPart(*path).c_str(), AT_REMOVEDIR) != 0) {
      return FileError("remove", Join(tree, *path), errno);
    }
  }
  return unlinkat(parent, name.c_str(), AT_REMOVEDIR) == 0 ? absl::OkStatus() : FileError("remove", tree, errno);
}

absl::Status SyncTree(int root, const std::string& shown) {
  std::vector<std::string> paths;
  RETURN_IF_ERROR(WalkTree(root, shown, [&](int, const std::string& path, const struct statx& info, bool is_mount) {
    if (is_mount) return MountInside(shown, path);
    if (!S_ISLNK(info.stx_mode)) paths.push_back(path);
    return absl::OkStatus();
  }));
  if (static_cast<int64_t>(paths.size()) > kMaxSingleSyncs) {
    return syncfs(root) == 0 ? absl::OkStatus() : FileError("write", shown, errno);
  }
  for (const std::string& path : paths) {
    const Fd folder = OpenFolderOnMount(root, path);
    if (!folder.ok()) return FileError("write", Join(shown, path), errno);
    RETURN_IF_ERROR(SyncOne(folder.get(), payload::LastPart(path), O_NONBLOCK, Join(shown, path)));
  }
  return SyncOne(root, ".", O_DIRECTORY, shown);
}

}  // namespace parley::agent
