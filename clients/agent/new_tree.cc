#include "clients/agent/new_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/agent/file_state.h"
#include "clients/agent/metadata.h"
#include "clients/agent/mounts.h"
#include "clients/agent/target_error.h"
#include "clients/agent/tree.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/crypto/hash.h"
#include "lib/payload/beneath.h"

namespace parley::agent {
namespace {

using task::v1::FileEntry;

// The folder that holds the entry, made with those above it.
absl::StatusOr<Fd> MakeFoldersFor(int root, absl::string_view path, const std::string& shown) {
  Fd folder(openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.ok()) return FileError("write", shown, errno);
  for (size_t start = 0, slash = path.find('/'); slash != absl::string_view::npos; slash = path.find('/', start)) {
    const std::string part(path.substr(start, slash - start));
    const bool made = mkdirat(folder.get(), part.c_str(), 0755) == 0;
    if (!made && errno != EEXIST) return FileError("write", absl::StrCat(shown, "/", path), errno);
    Fd inner = OpenOnMount(folder.get(), part, O_RDONLY | O_DIRECTORY);
    if (!inner.ok() && (errno == ENOTDIR || errno == ELOOP)) {
      return InTheWay(absl::StrCat(shown, "/", path.substr(0, slash)), "folder");
    }
    if (!inner.ok()) return FileError("write", absl::StrCat(shown, "/", path), errno);
    // The process's mask has no say in what is installed.
    if (made) RETURN_IF_ERROR(DressFolder(inner.get(), folder.get(), absl::StrCat(shown, "/", path)));
    folder = std::move(inner);
    start = slash + 1;
  }
  return folder;
}

// What stays in a target that is copied, and where the set needs something else.
class Ways {
 public:
  Ways(int root, const std::set<std::string>& dropped, const std::string& shown)
      : root_(root), dropped_(dropped), shown_(shown) {
    for (const std::string& path : dropped) {
      for (size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) {
        emptied_.insert(path.substr(0, slash));
      }
    }
  }

  absl::Status Check(const FileEntry& entry) const {
    const std::string& path = entry.path();
    for (size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) {
      const std::string above = path.substr(0, slash);
      ASSIGN_OR_RETURN(const uint32_t mode, ModeOf(above));
      if (mode == 0 || (!S_ISDIR(mode) && dropped_.count(above) > 0)) return absl::OkStatus();
      if (!S_ISDIR(mode)) return InTheWay(Shown(above), "folder");
    }
    ASSIGN_OR_RETURN(const uint32_t mode, ModeOf(path));
    if (!S_ISDIR(mode) || Goes(path)) return absl::OkStatus();
    return InTheWay(Shown(path), entry.type() == FileEntry::TYPE_SYMLINK ? "link" : "file");
  }

 private:
  std::string Shown(const std::string& path) const { return absl::StrCat(shown_, "/", path); }

  // Returns the type and mode of what is at the path; 0 if nothing is.
  absl::StatusOr<uint32_t> ModeOf(const std::string& path) const {
    const Fd above = OpenFolderOnMount(root_, path);
    struct statx info;
    if (above.ok() && StatEntry(above.get(), payload::LastPart(path), &info)) return info.stx_mode;
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return 0;
    return FileError("read", Shown(path), errno);
  }

  // Whether the folder goes with the paths that the set drops, because it holds nothing else.
  bool Goes(const std::string& path) const {
    if (emptied_.count(path) == 0) return false;
    const Fd folder = OpenOnMount(root_, path, O_RDONLY | O_DIRECTORY);
    if (!folder.ok()) return false;
    return WalkTree(folder.get(), Shown(path),
                    [&](int, const std::string& inner, const struct statx& info, bool) {
                      const std::set<std::string>& going = S_ISDIR(info.stx_mode) ? emptied_ : dropped_;
                      if (going.count(absl::StrCat(path, "/", inner)) > 0) return absl::OkStatus();
                      return InTheWay(Shown(inner), "file");
                    })
        .ok();
  }

  const int root_;
  const std::set<std::string>& dropped_;
  const std::string& shown_;
  // The folders that hold what is dropped.
  std::set<std::string> emptied_;
};

absl::Status WriteContent(int fd, const FileEntry& entry, const ReadChunk& read_chunk, const std::string& shown) {
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

}  // namespace

void RemoveEmptyFolders(int root, const std::set<std::string>& paths, const std::vector<std::string>& needed) {
  std::set<absl::string_view> kept;
  for (absl::string_view path : needed) {
    for (size_t slash = path.find('/'); slash != absl::string_view::npos; slash = path.find('/', slash + 1)) {
      kept.insert(path.substr(0, slash));
    }
  }
  for (absl::string_view path : paths) {
    for (size_t slash = path.rfind('/'); slash != absl::string_view::npos; slash = path.rfind('/')) {
      path = path.substr(0, slash);
      if (kept.count(path) > 0) break;
      const Fd folder = OpenFolderOnMount(root, path);
      // Refused for one that still holds something, and so for those above it.
      if (!folder.ok() || unlinkat(folder.get(), payload::LastPart(path).c_str(), AT_REMOVEDIR) != 0) break;
    }
  }
}

absl::Status CheckWays(int root, const task::v1::Manifest& manifest, const std::set<std::string>& dropped,
                       const std::string& shown) {
  const Ways ways(root, dropped, shown);
  for (const FileEntry& entry : manifest.files()) RETURN_IF_ERROR(ways.Check(entry));
  return absl::OkStatus();
}

Fd OpenOldFile(int root, absl::string_view path) {
  Fd fd = OpenOnMount(root, path, O_RDONLY | O_NONBLOCK);
  struct stat info;
  return fd.ok() && fstat(fd.get(), &info) == 0 && S_ISREG(info.st_mode) ? std::move(fd) : Fd();
}

absl::Status WriteEntry(int root, const std::string& path, const FileEntry& entry, int old, int home,
                        const ReadChunk& read_chunk, const std::string& target) {
  const std::string shown = absl::StrCat(target, "/", entry.path());
  ASSIGN_OR_RETURN(const Fd folder, MakeFoldersFor(root, path, target));
  const std::string name = payload::LastPart(path);
  if (entry.type() == FileEntry::TYPE_SYMLINK) {
    if (symlinkat(entry.link_target().c_str(), folder.get(), name.c_str()) == 0) return absl::OkStatus();
    return errno == EEXIST ? InTheWay(shown, "link") : FileError("write", shown, errno);
  }
  const Fd fd(openat(folder.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd.ok()) return errno == EEXIST ? InTheWay(shown, "file") : FileError("write", shown, errno);
  RETURN_IF_ERROR(WriteContent(fd.get(), entry, read_chunk, shown));
  return DressFile(fd.get(), old, home < 0 ? folder.get() : home, entry.mode(), shown);
}

absl::Status WriteFiles(int root, int old, const NewSet& set, const std::string& shown) {
  for (const FileEntry& entry : set.manifest->files()) {
    if (set.unchanged.count(entry.path()) > 0) continue;
    const Fd replaced = old < 0 ? Fd() : OpenOldFile(old, entry.path());
    RETURN_IF_ERROR(WriteEntry(root, entry.path(), entry, replaced.get(), -1, *set.read_chunk, shown));
  }
  return absl::OkStatus();
}

}  // namespace parley::agent
