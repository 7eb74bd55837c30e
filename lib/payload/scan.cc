// Reading payloads and installed sets from the disk.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"
#include "lib/crypto/hash.h"
#include "lib/payload/beneath.h"
#include "lib/payload/fileset.h"
#include "lib/payload/permissions.h"

namespace parley::payload {
namespace {

using task::v1::FileEntry;

// Makes the error of FileError, with the payload's own reason for what may not be read.
absl::Status ReadError(const std::string& path, int error_number) {
  if (error_number == ENAMETOOLONG) {
    return InvalidArgument("PATH_TOO_LONG", "no file can have a name as long as the one that begins with ",
                           path.substr(0, 80), "; shorten it");
  }
  if (error_number == ENOENT || error_number == ENOTDIR) {
    return NotFound("PAYLOAD_MISSING", "cannot read ", path, ": ", ErrnoText(error_number),
                    "; give an existing file or folder");
  }
  return FileError("read", path, error_number);
}

absl::Status Changed(const std::string& path) {
  return Error(absl::StatusCode::kAborted, "FILE_CHANGED", path,
               " changed while it was being read; try again when nobody writes to it");
}

bool SameState(const struct stat& a, const struct stat& b) {
  return a.st_size == b.st_size && a.st_mode == b.st_mode && a.st_mtim.tv_sec == b.st_mtim.tv_sec &&
         a.st_mtim.tv_nsec == b.st_mtim.tv_nsec && a.st_ctim.tv_sec == b.st_ctim.tv_sec &&
         a.st_ctim.tv_nsec == b.st_ctim.tv_nsec;
}

// Describes an open regular file, which it hashes and cuts. `shown` is for errors.
absl::Status ReadContent(int fd, const struct stat& before, const std::string& shown, const OnChunk& on_chunk,
                         FileEntry* entry) {
  std::string buffer(static_cast<size_t>(std::min<int64_t>(kChunkBytes, before.st_size + 1)), '\0');
  crypto::Sha256Stream whole;
  int64_t total = 0;
  while (true) {
    ASSIGN_OR_RETURN(const size_t count, ReadUpTo(fd, shown, buffer.data(), buffer.size()));
    if (count == 0) break;
    total += static_cast<int64_t>(count);
    if (total > before.st_size) return Changed(shown);
    const absl::string_view content(buffer.data(), count);
    whole.Update(content);
    const std::string digest = crypto::Sha256(content);
    entry->add_chunks(digest);
    if (on_chunk) RETURN_IF_ERROR(on_chunk(digest, content));
  }
  struct stat after;
  if (fstat(fd, &after) != 0) return ReadError(shown, errno);
  if (total != before.st_size || !SameState(before, after)) return Changed(shown);
  entry->set_type(FileEntry::TYPE_REGULAR);
  entry->set_mode(PermissionsOf(fd, before.st_mode));
  entry->set_size(total);
  entry->set_sha256(whole.Finish());
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadLink(int folder, const std::string& name, const std::string& shown) {
  std::string target(kMaxPathBytes + 1, '\0');
  const ssize_t size = readlinkat(folder, name.c_str(), target.data(), target.size());
  if (size < 0) return ReadError(shown, errno);
  target.resize(static_cast<size_t>(size));
  return target;
}

// One scan of a folder: walks it without following links, and reads in the order of the paths.
class FolderScan {
 public:
  FolderScan(int root, const std::string& root_path) : root_(root), root_path_(root_path) {}

  absl::StatusOr<Files> Run(const OnChunk& on_chunk) {
    for (std::vector<std::string> folders = {""}; !folders.empty();) {
      const std::string folder = std::move(folders.back());
      folders.pop_back();
      RETURN_IF_ERROR(List(folder, &folders));
    }
    std::sort(paths_.begin(), paths_.end());
    Files files;
    for (const std::string& path : paths_) RETURN_IF_ERROR(Read(path, on_chunk, files.Add()));
    RETURN_IF_ERROR(ValidateFiles(files));
    return files;
  }

 private:
  std::string Shown(const std::string& path) const {
    return path.empty() ? root_path_ : absl::StrCat(root_path_, "/", path);
  }

  // Notes what is in one folder; sub-folders go to `folders`.
  absl::Status List(const std::string& folder, std::vector<std::string>* folders) {
    Fd fd = OpenBeneath(root_, folder.empty() ? "." : folder, O_RDONLY | O_DIRECTORY);
    if (!fd.ok()) return ReadError(Shown(folder), errno);
    DIR* stream = fdopendir(fd.get());
    if (stream == nullptr) return ReadError(Shown(folder), errno);
    fd.release();
    absl::Cleanup close_it = [stream] { closedir(stream); };
    while (true) {
      errno = 0;
      const dirent* item = readdir(stream);
      if (item == nullptr && errno != 0) return ReadError(Shown(folder), errno);
      if (item == nullptr) return absl::OkStatus();
      const std::string name = item->d_name;
      if (name == "." || name == "..") continue;
      RETURN_IF_ERROR(Note(dirfd(stream), folder.empty() ? name : absl::StrCat(folder, "/", name), folders));
    }
  }

  absl::Status Note(int folder, const std::string& path, std::vector<std::string>* folders) {
    struct stat info;
    if (fstatat(folder, LastPart(path).c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return ReadError(Shown(path), errno);
    if (++entries_ > 2 * kMaxFiles || paths_.size() > kMaxFiles) {
      return InvalidArgument("TOO_MANY_FILES", root_path_, " has more than the ", kMaxFiles,
                             " files that a payload may have; choose a smaller folder");
    }
    if (path.size() > kMaxPathBytes) {
      return InvalidArgument("PATH_TOO_LONG", root_path_, " has a path of more than ", kMaxPathBytes,
                             " bytes, which begins with ", path.substr(0, 80), "; shorten it");
    }
    if (S_ISDIR(info.st_mode)) {
      folders->push_back(path);
      return absl::OkStatus();
    }
    if (S_ISREG(info.st_mode)) {
      bytes_ += std::min<int64_t>(info.st_size, kMaxPayloadBytes + 1);
      if (bytes_ > kMaxPayloadBytes) {
        return InvalidArgument("PAYLOAD_TOO_LARGE", root_path_, " holds more than the 1 GiB that a payload may have");
      }
    } else if (!S_ISLNK(info.st_mode)) {
      return InvalidArgument("FILE_TYPE", Shown(path), " is a device, socket or pipe; take it out of the payload");
    }
    paths_.push_back(path);
    return absl::OkStatus();
  }

  absl::Status Read(const std::string& path, const OnChunk& on_chunk, FileEntry* entry) {
    const Fd folder = OpenFolderBeneath(root_, path);
    if (!folder.ok()) return Changed(Shown(path));
    const std::string name = LastPart(path);
    struct stat info;
    if (fstatat(folder.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return Changed(Shown(path));
    entry->set_path(path);
    if (S_ISLNK(info.st_mode)) {
      entry->set_type(FileEntry::TYPE_SYMLINK);
      ASSIGN_OR_RETURN(*entry->mutable_link_target(), ReadLink(folder.get(), name, Shown(path)));
      return absl::OkStatus();
    }
    // Without O_NONBLOCK, a pipe put in the file's place meanwhile would hold us for ever.
    const Fd fd(openat(folder.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!fd.ok()) return errno == ELOOP ? Changed(Shown(path)) : ReadError(Shown(path), errno);
    if (fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) return Changed(Shown(path));
    if (info.st_size > kMaxPayloadBytes) return Changed(Shown(path));
    return ReadContent(fd.get(), info, Shown(path), on_chunk, entry);
  }

  const int root_;
  const std::string root_path_;
  std::vector<std::string> paths_;
  int64_t entries_ = 0;
  int64_t bytes_ = 0;
};

absl::StatusOr<Files> ScanFile(int fd, const struct stat& info, const std::string& path, const OnChunk& on_chunk) {
  if (info.st_size > kMaxPayloadBytes) {
    return InvalidArgument("PAYLOAD_TOO_LARGE", path, " is larger than the 1 GiB that a payload may have");
  }
  Files files;
  FileEntry* entry = files.Add();
  entry->set_path(LastPart(path));
  RETURN_IF_ERROR(ReadContent(fd, info, path, on_chunk, entry));
  RETURN_IF_ERROR(ValidateFiles(files));
  return files;
}

// What stands where `wanted` belongs; nothing when that is no file or link, or is not there.
absl::StatusOr<std::optional<FileEntry>> ScanEntry(int root, const std::string& root_path, const FileEntry& wanted) {
  const std::string shown = absl::StrCat(root_path, "/", wanted.path());
  const auto absent = [](int error) { return error == ENOENT || error == ENOTDIR || error == ELOOP; };
  const Fd folder = OpenFolderBeneath(root, wanted.path());
  if (!folder.ok() && !absent(errno)) return ReadError(shown, errno);
  if (!folder.ok()) return std::nullopt;
  const std::string name = LastPart(wanted.path());
  struct stat info;
  if (fstatat(folder.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (!absent(errno)) return ReadError(shown, errno);
    return std::nullopt;
  }
  FileEntry entry;
  entry.set_path(wanted.path());
  if (S_ISLNK(info.st_mode)) {
    entry.set_type(FileEntry::TYPE_SYMLINK);
    ASSIGN_OR_RETURN(*entry.mutable_link_target(), ReadLink(folder.get(), name, shown));
    return entry;
  }
  if (!S_ISREG(info.st_mode) || info.st_size > kMaxPayloadBytes) return std::nullopt;
  const Fd fd(openat(folder.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!fd.ok() && !absent(errno)) return ReadError(shown, errno);
  if (!fd.ok() || fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) return Changed(shown);
  RETURN_IF_ERROR(ReadContent(fd.get(), info, shown, nullptr, &entry));
  return entry;
}

}  // namespace

absl::StatusOr<Files> ScanPayload(const std::string& path, const OnChunk& on_chunk) {
  std::string trimmed = path;
  while (trimmed.size() > 1 && trimmed.back() == '/') trimmed.pop_back();
  // The payload itself may be named through a link; nothing inside it is.
  const Fd root(open(trimmed.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!root.ok()) return ReadError(trimmed, errno);
  struct stat info;
  if (fstat(root.get(), &info) != 0) return ReadError(trimmed, errno);
  if (S_ISREG(info.st_mode)) return ScanFile(root.get(), info, trimmed, on_chunk);
  if (!S_ISDIR(info.st_mode)) {
    return InvalidArgument("FILE_TYPE", trimmed, " is a device, socket or pipe; give a file or folder");
  }
  absl::StatusOr<Files> files = FolderScan(root.get(), trimmed).Run(on_chunk);
  if (Reason(files.status()) == "PAYLOAD_EMPTY") {
    return InvalidArgument("PAYLOAD_EMPTY", trimmed, " has no files; give a folder that has some");
  }
  return files;
}

absl::StatusOr<Files> ScanInstalled(const std::string& root, const Files& files) {
  Files installed;
  const Fd folder(open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.ok() && (errno == ENOENT || errno == ENOTDIR)) return installed;
  if (!folder.ok()) return ReadError(root, errno);
  for (const FileEntry& wanted : files) {
    ASSIGN_OR_RETURN(std::optional<FileEntry> entry, ScanEntry(folder.get(), root, wanted));
    if (entry.has_value()) *installed.Add() = *std::move(entry);
  }
  return installed;
}

}  // namespace parley::payload
