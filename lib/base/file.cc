#include "lib/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"

namespace parley {
namespace {

// Appends all of a file to `content`.
absl::Status ReadAll(int fd, const std::string& path, size_t max_bytes, std::string* content) {
  char buffer[16384];
  absl::Cleanup wipe = [&buffer] { WipeMemory(buffer, sizeof(buffer)); };
  while (true) {
    ASSIGN_OR_RETURN(const size_t count, ReadUpTo(fd, path, buffer, sizeof(buffer)));
    if (count == 0) return absl::OkStatus();
    if (content->size() + count > max_bytes) {
      return InvalidArgument("FILE_TOO_LARGE", path, " is larger than the ", max_bytes, " bytes allowed");
    }
    content->append(buffer, count);
  }
}

absl::StatusOr<Fd> OpenRegular(const std::string& path, struct stat* info) {
  Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd.ok()) return FileError("read", path, errno);
  if (fstat(fd.get(), info) != 0 || !S_ISREG(info->st_mode)) {
    return InvalidArgument("FILE_IO", path, " is not a regular file");
  }
  return fd;
}

}  // namespace

absl::Status FileError(absl::string_view doing, absl::string_view path, int error_number) {
  const std::string sentence = absl::StrCat("cannot ", doing, " ", path, ": ", ErrnoText(error_number));
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
      return NotFound("FILE_NOT_FOUND", sentence);
    case EACCES:
    case EPERM:
      return PermissionDenied("FILE_PERMISSION", sentence);
    case ENOSPC:
    case EDQUOT:
      return Error(absl::StatusCode::kResourceExhausted, "DISK_FULL", sentence, "; free some space");
    case EROFS:
      return FailedPrecondition("DISK_READ_ONLY", sentence);
    default:
      return Unavailable("FILE_IO", sentence);
  }
}

absl::StatusOr<std::string> ReadFile(const std::string& path, size_t max_bytes) {
  struct stat info;
  ASSIGN_OR_RETURN(const Fd fd, OpenRegular(path, &info));
  std::string content;
  RETURN_IF_ERROR(ReadAll(fd.get(), path, max_bytes, &content));
  return content;
}

absl::StatusOr<Secret> ReadSecretFile(const std::string& path, size_t max_bytes) {
  struct stat info;
  ASSIGN_OR_RETURN(const Fd fd, OpenRegular(path, &info));
  if ((info.st_mode & 0077) != 0) {
    return FailedPrecondition("FILE_EXPOSED", path, " holds a secret but others may open it; run: chmod 600 ", path);
  }
  if (info.st_uid != geteuid() && info.st_uid != 0) {
    return FailedPrecondition("FILE_EXPOSED", path, " holds a secret but belongs to another user");
  }
  std::string content;
  content.reserve(max_bytes + 1);  // No reallocation leaves a copy behind.
  RETURN_IF_ERROR(ReadAll(fd.get(), path, max_bytes, &content));
  return Secret::Take(std::move(content));
}

absl::StatusOr<size_t> ReadUpTo(int fd, const std::string& path, void* buffer, size_t size) {
  size_t got = 0;
  while (got < size) {
    const ssize_t count = read(fd, static_cast<char*>(buffer) + got, size - got);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return FileError("read", path, errno);
    if (count == 0) break;
    got += static_cast<size_t>(count);
  }
  return got;
}

absl::Status WriteAll(int fd, const std::string& path, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return FileError("write", path, errno);
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return absl::OkStatus();
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

absl::Status WriteFileAtomically(const std::string& path, absl::string_view content, mode_t mode) {
  std::string temporary = absl::StrCat(path, ".XXXXXX");
  const Fd fd(mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd.ok()) return FileError("write", path, errno);
  absl::Cleanup remove_it = [&temporary] { unlink(temporary.c_str()); };
  if (fchmod(fd.get(), mode) != 0) return FileError("write", path, errno);
  RETURN_IF_ERROR(WriteAll(fd.get(), path, content));
  if (fsync(fd.get()) != 0) return FileError("write", path, errno);
  if (rename(temporary.c_str(), path.c_str()) != 0) return FileError("write", path, errno);
  std::move(remove_it).Cancel();
  return SyncFolder(FolderOf(path));
}

absl::Status WriteSecretFile(const std::string& path, const Secret& content) {
  return WriteFileAtomically(path, content.Expose(), 0600);
}

absl::Status MakeFolders(const std::string& path, mode_t mode) {
  for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string folder = path.substr(0, slash);
    if (mkdir(folder.c_str(), mode) != 0 && errno != EEXIST) return FileError("make the folder", folder, errno);
    if (slash == std::string::npos) break;
  }
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return FileError("open", path, errno);
  if (!S_ISDIR(info.st_mode)) return FileError("make the folder", path, ENOTDIR);
  return absl::OkStatus();
}

absl::Status SyncFolder(const std::string& path) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.ok()) return FileError("open", path, errno);
  if (fsync(fd.get()) != 0) return FileError("write", path, errno);
  return absl::OkStatus();
}

}  // namespace parley
