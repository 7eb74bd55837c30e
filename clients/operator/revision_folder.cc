#include "clients/operator/revision_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "clients/operator/new_file.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"

namespace parley::ops {
namespace {

using task::v1::FileEntry;

std::string WithoutLastSlashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

// A folder beside the one that is to be, which goes with all that was written into it unless it is moved there.
class FolderInWork {
 public:
  explicit FolderInWork(const std::string& folder) : folder_(folder), path_(absl::StrCat(folder, ".XXXXXX")) {}
  ~FolderInWork() {
    if (!made_) return;
    for (auto file = files_.rbegin(); file != files_.rend(); ++file) unlink(file->c_str());
    // What lies below comes behind what is above.
    for (auto below = folders_.rbegin(); below != folders_.rend(); ++below) rmdir(below->c_str());
    rmdir(path_.c_str());
  }

  absl::Status Make() {
    if (mkdtemp(path_.data()) == nullptr) return FileError("make a folder beside", folder_, errno);
    made_ = true;
    return absl::OkStatus();
  }

  absl::Status Write(const FileEntry& file, absl::string_view content, bool last) {
    const std::string path = absl::StrCat(path_, "/", file.path());
    if (!open_.ok()) {
      RETURN_IF_ERROR(MakeFoldersOf(file.path()));
      open_ = Fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
      if (!open_.ok()) return FileError("write", path, errno);
      files_.push_back(path);
    }
    RETURN_IF_ERROR(WriteAll(open_.get(), path, content));
    if (!last) return absl::OkStatus();
    if (fchmod(open_.get(), file.mode()) != 0) return FileError("set the mode of", path, errno);
    open_ = Fd();
    return absl::OkStatus();
  }

  absl::Status Link(const FileEntry& link) {
    RETURN_IF_ERROR(MakeFoldersOf(link.path()));
    std::string path = absl::StrCat(path_, "/", link.path());
    if (symlink(link.link_target().c_str(), path.c_str()) != 0) return FileError("make the link", path, errno);
    files_.push_back(std::move(path));
    return absl::OkStatus();
  }

  absl::Status MoveIntoPlace() {
    const Fd made(open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!made.ok() || syncfs(made.get()) != 0) return FileError("write", path_, errno);
    // An empty folder gives way.
    if (rename(path_.c_str(), folder_.c_str()) != 0) return FileError("make", folder_, errno);
    made_ = false;
    return SyncFolder(FolderOf(folder_));
  }

 private:
  // Names are those of a valid file set, so that no folder is a link.
  absl::Status MakeFoldersOf(const std::string& path) {
    for (size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) {
      const std::string folder = absl::StrCat(path_, "/", path.substr(0, slash));
      if (!folders_.insert(folder).second) continue;
      if (mkdir(folder.c_str(), 0700) != 0) return FileError("make", folder, errno);
    }
    return absl::OkStatus();
  }

  const std::string folder_;
  std::string path_;
  bool made_ = false;
  Fd open_;
  std::vector<std::string> files_;
  std::set<std::string> folders_;
};

}  // namespace

absl::Status CanWriteRevision(const std::string& path) {
  const std::string folder = WithoutLastSlashes(path);
  const std::unique_ptr<DIR, int (*)(DIR*)> open(opendir(folder.c_str()), closedir);
  if (open == nullptr && errno == ENOENT) return CanWriteTo(FolderOf(folder), "the folder with the revision");
  if (open == nullptr && errno != ENOTDIR) return FileError("read", folder, errno);
  int entries = 0;
  while (open != nullptr && readdir(open.get()) != nullptr) ++entries;
  // "." and ".."
  if (open != nullptr && entries <= 2) return CanWriteTo(FolderOf(folder), "the folder with the revision");
  return Error(absl::StatusCode::kAlreadyExists, "FOLDER_NOT_EMPTY",
               absl::StrCat(folder, " is there already, and not an empty folder; name another one"));
}

absl::Status WriteRevision(const RevisionReader& reader, const task::v1::Manifest& manifest, const std::string& path) {
  const std::string folder = WithoutLastSlashes(path);
  RETURN_IF_ERROR(CanWriteRevision(folder));
  FolderInWork work(folder);
  RETURN_IF_ERROR(work.Make());
  RETURN_IF_ERROR(reader.Fetch(
      manifest, manifest.files(),
      [&](const FileEntry& file, absl::string_view content, bool last) { return work.Write(file, content, last); }));
  for (const FileEntry& file : manifest.files()) {
    if (file.type() == FileEntry::TYPE_SYMLINK) RETURN_IF_ERROR(work.Link(file));
  }
  return work.MoveIntoPlace();
}

}  // namespace parley::ops
