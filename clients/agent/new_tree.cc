#include "clients/agent/new_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/crypto/hash.h"
#include "lib/payload/beneath.h"

namespace parley::agent {
namespace {

using payload::Fd;
using task::v1::FileEntry;

absl::Status Conflict(const std::string& shown, absl::string_view path, absl::string_view needed) {
  return Error(absl::StatusCode::kFailedPrecondition, "TARGET_CONFLICT",
               absl::StrCat(shown, "/", path, " is in the way: the payload needs a ", needed,
                            " there; move it away and try again"));
}

// The folder that holds the entry, made with those above it.
absl::StatusOr<Fd> MakeFoldersFor(int root, absl::string_view path, const std::string& shown) {
  Fd folder(openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.ok()) return FileError("write", shown, errno);
  for (size_t start = 0, slash = path.find('/'); slash != absl::string_view::npos; slash = path.find('/', start)) {
    const std::string part(path.substr(start, slash - start));
    if (mkdirat(folder.get(), part.c_str(), 0755) == 0) {
      // The process's mask has no say in what is installed.
      fchmodat(folder.get(), part.c_str(), 0755, 0);
    } else if (errno != EEXIST) {
      return FileError("write", absl::StrCat(shown, "/", path), errno);
    }
    folder = Fd(openat(folder.get(), part.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!folder.ok() && (errno == ENOTDIR || errno == ELOOP)) return Conflict(shown, path.substr(0, slash), "folder");
    if (!folder.ok()) return FileError("write", absl::StrCat(shown, "/", path), errno);
    start = slash + 1;
  }
  return folder;
}

// A program may run as the user whose file this replaces.
absl::Status KeepOwner(int fd, int old, const FileEntry& entry, const std::string& shown) {
  if (old < 0) return absl::OkStatus();
  const Fd folder = payload::OpenFolderBeneath(old, entry.path());
  struct stat before, made;
  if (!folder.ok() || fstat(fd, &made) != 0 ||
      fstatat(folder.get(), payload::LastPart(entry.path()).c_str(), &before, AT_SYMLINK_NOFOLLOW) != 0 ||
      !S_ISREG(before.st_mode) || (before.st_uid == made.st_uid && before.st_gid == made.st_gid)) {
    return absl::OkStatus();
  }
  if (fchown(fd, before.st_uid, before.st_gid) != 0) return FileError("keep the owner of", shown, errno);
  return absl::OkStatus();
}

absl::Status WriteContent(int fd, const FileEntry& entry,
                          const std::function<absl::StatusOr<std::string>(absl::string_view)>& read_chunk,
                          const std::string& shown) {
  crypto::Sha256Stream whole;
  for (const std::string& digest : entry.chunks()) {
    ASSIGN_OR_RETURN(const std::string content, read_chunk(digest));
    whole.Update(content);
    RETURN_IF_ERROR(WriteAll(fd, shown, content));
  }
  struct stat info;
  if (fstat(fd, &info) != 0) return FileError("write", shown, errno);
  if (whole.Finish() == entry.sha256() && info.st_size == entry.size()) return absl::OkStatus();
  return Error(absl::StatusCode::kDataLoss, "FILE_DIGEST",
               absl::StrCat("the chunks of ", entry.path(), " do not make up the file that was signed"));
}

absl::Status WriteEntry(int root, int old, const FileEntry& entry,
                        const std::function<absl::StatusOr<std::string>(absl::string_view)>& read_chunk,
                        const std::string& target) {
  const std::string shown = absl::StrCat(target, "/", entry.path());
  ASSIGN_OR_RETURN(const Fd folder, MakeFoldersFor(root, entry.path(), target));
  const std::string name = payload::LastPart(entry.path());
  if (entry.type() == FileEntry::TYPE_SYMLINK) {
    if (symlinkat(entry.link_target().c_str(), folder.get(), name.c_str()) == 0) return absl::OkStatus();
    return errno == EEXIST ? Conflict(target, entry.path(), "link") : FileError("write", shown, errno);
  }
  const Fd fd(openat(folder.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd.ok()) return errno == EEXIST ? Conflict(target, entry.path(), "file") : FileError("write", shown, errno);
  RETURN_IF_ERROR(WriteContent(fd.get(), entry, read_chunk, shown));
  RETURN_IF_ERROR(KeepOwner(fd.get(), old, entry, shown));
  return fchmod(fd.get(), entry.mode()) == 0 ? absl::OkStatus() : FileError("write", shown, errno);
}

}  // namespace

void RemoveEmptyFolders(int root, const google::protobuf::RepeatedPtrField<std::string>& paths) {
  for (absl::string_view path : paths) {
    for (size_t slash = path.rfind('/'); slash != absl::string_view::npos; slash = path.rfind('/')) {
      path = path.substr(0, slash);
      const Fd folder = payload::OpenFolderBeneath(root, path);
      // Refused for one that still holds something, and so for those above it.
      if (!folder.ok() || unlinkat(folder.get(), payload::LastPart(path).c_str(), AT_REMOVEDIR) != 0) break;
    }
  }
}

absl::Status WriteFiles(int root, int old, const task::v1::Manifest& manifest,
                        const std::function<absl::StatusOr<std::string>(absl::string_view digest)>& read_chunk,
                        const std::string& shown) {
  for (const FileEntry& entry : manifest.files()) {
    RETURN_IF_ERROR(WriteEntry(root, old, entry, read_chunk, shown));
  }
  return absl::OkStatus();
}

}  // namespace parley::agent
