#include "clients/agent/open_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <functional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "clients/agent/tree.h"
#include "lib/base/file.h"

namespace parley::agent {
namespace {

std::string LinkTarget(const std::string& path) {
  char target[4096];
  const ssize_t size = readlink(path.c_str(), target, sizeof(target));
  return size > 0 ? std::string(target, static_cast<size_t>(size)) : std::string();
}

std::string Name(const std::string& process) {
  const absl::StatusOr<std::string> name = ReadFile(absl::StrCat(process, "/comm"), 100);
  return absl::StrCat(name.ok() ? absl::StripAsciiWhitespace(*name) : "a program", " (process ",
                      process.substr(process.rfind('/') + 1), ")");
}

// In a watcher's lines, "inotify wd:1 ino:9e7e sdev:800013 …": both hexadecimal, the device as the kernel packs it.
bool Watches(const std::string& info_path, const FileIds& folders) {
  const absl::StatusOr<std::string> text = ReadFile(info_path, 1 << 20);
  if (!text.ok()) return false;
  for (const absl::string_view line : absl::StrSplit(*text, '\n')) {
    uint64_t inode = 0, device = 0;
    for (const absl::string_view field : absl::StrSplit(line, ' ')) {
      if (absl::StartsWith(field, "ino:") && !absl::SimpleHexAtoi(field.substr(4), &inode)) inode = 0;
      if (absl::StartsWith(field, "sdev:") && !absl::SimpleHexAtoi(field.substr(5), &device)) device = 0;
    }
    if (inode != 0 && folders.contains(FileId(makedev(device >> 20, device & 0xfffff), inode))) return true;
  }
  return false;
}

using Inspect = std::function<std::string(const std::string& process)>;
std::string FirstOf(const std::string& proc, const Inspect& inspect) {
  if (proc.empty()) return "";
  const std::string own = absl::StrCat(getpid());
  for (const std::string& name : FolderNames(proc)) {
    if (name == own || !absl::ascii_isdigit(static_cast<unsigned char>(name[0]))) continue;
    std::string found = inspect(absl::StrCat(proc, "/", name));
    if (!found.empty()) return found;
  }
  return "";
}

}  // namespace

FileId FileIdOf(const struct statx& info) {
  return FileId(makedev(info.stx_dev_major, info.stx_dev_minor), info.stx_ino);
}

std::optional<FileId> FileIdOf(const std::string& path) {
  struct statx info;
  if (statx(AT_FDCWD, path.c_str(), AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO, &info) != 0) return std::nullopt;
  return FileIdOf(info);
}

bool LeadsToOneOf(const FileIds& ids, const std::string& path) {
  const std::optional<FileId> id = FileIdOf(path);
  return id.has_value() && ids.contains(*id);
}

std::string WriterOf(const FileIds& files, const std::string& proc) {
  if (files.empty()) return "";
  return FirstOf(proc, [&files](const std::string& process) -> std::string {
    for (const std::string& fd : FolderNames(absl::StrCat(process, "/fd"))) {
      const std::string link = absl::StrCat(process, "/fd/", fd);
      struct stat how;
      // The link's own mode says how the file is open.
      if (lstat(link.c_str(), &how) != 0 || (how.st_mode & S_IWUSR) == 0) continue;
      const std::string path = LinkTarget(link);
      if (!absl::StartsWith(path, "/")) continue;
      if (LeadsToOneOf(files, link)) return absl::StrCat(Name(process), " has ", path, " open for writing");
    }
    return "";
  });
}

std::string HolderOf(const FileIds& folders, const std::string& proc) {
  if (folders.empty()) return "";
  return FirstOf(proc, [&folders](const std::string& process) -> std::string {
    for (const char* place : {"cwd", "root"}) {
      const std::string link = absl::StrCat(process, "/", place);
      if (LeadsToOneOf(folders, link)) return absl::StrCat(Name(process), " works in ", LinkTarget(link));
    }
    for (const std::string& fd : FolderNames(absl::StrCat(process, "/fd"))) {
      const std::string link = absl::StrCat(process, "/fd/", fd);
      const std::string path = LinkTarget(link);
      if (path == "anon_inode:inotify" && Watches(absl::StrCat(process, "/fdinfo/", fd), folders)) {
        return absl::StrCat(Name(process), " watches it");
      }
      if (absl::StartsWith(path, "/") && LeadsToOneOf(folders, link)) {
        return absl::StrCat(Name(process), " holds ", path, " open");
      }
    }
    return "";
  });
}

}  // namespace parley::agent
