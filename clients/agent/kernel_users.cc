#include "clients/agent/kernel_users.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "clients/agent/mount_table.h"
#include "clients/agent/tree.h"
#include "lib/base/file.h"

namespace parley::agent {
namespace {

constexpr size_t kMaxListBytes = 4 << 20;

std::string Text(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(path, kMaxListBytes);
  return text.ok() ? std::string(absl::StripAsciiWhitespace(*text)) : "";
}

std::string LoopDeviceOf(const FileIds& files, KernelUse use, const std::string& sys) {
  const std::string block = absl::StrCat(sys, "/block");
  for (const std::string& name : FolderNames(block)) {
    const std::string device = absl::StrCat(block, "/", name);
    const std::string file = Text(absl::StrCat(device, "/loop/backing_file"));
    if (file.empty() || !LeadsToOneOf(files, file)) continue;
    if (use == KernelUse::kWriting && Text(absl::StrCat(device, "/ro")) == "1") continue;
    return absl::StrCat("the loop device /dev/", name, " has ", file, " as its disk");
  }
  return "";
}

// "Filename Type Size Used Priority", and a line for each.
std::string SwapOf(const FileIds& files, const std::string& proc) {
  for (const absl::string_view line : absl::StrSplit(Text(absl::StrCat(proc, "/swaps")), '\n')) {
    const std::string path = UnescapeMountField(line.substr(0, line.find_first_of(" \t")));
    if (absl::StartsWith(path, "/") && LeadsToOneOf(files, path)) {
      return absl::StrCat(path, " is swap space of this machine");
    }
  }
  return "";
}

// A line such as "1: FLOCK  ADVISORY  WRITE 4211 08:01:1234 0 EOF"; one with "->" stands for a process that waits.
std::optional<FileId> LockedFile(const std::vector<absl::string_view>& fields) {
  if (fields.size() < 6 || fields[1] == "->") return std::nullopt;
  const std::vector<absl::string_view> parts = absl::StrSplit(fields[5], ':');
  uint32_t major = 0, minor = 0;
  uint64_t inode = 0;
  if (parts.size() != 3 || !absl::SimpleHexAtoi(parts[0], &major) || !absl::SimpleHexAtoi(parts[1], &minor) ||
      !absl::SimpleAtoi(parts[2], &inode)) {
    return std::nullopt;
  }
  return FileId(makedev(major, minor), inode);
}

}  // namespace

std::string KernelUserOf(const FileIds& files, KernelUse use, const std::string& proc, const std::string& sys) {
  if (files.empty()) return "";
  std::string swap = SwapOf(files, proc);
  return swap.empty() ? LoopDeviceOf(files, use, sys) : swap;
}

std::string LockHolderOf(const FileIds& ids, const std::string& proc) {
  const std::string own = absl::StrCat(getpid());
  for (const absl::string_view line : absl::StrSplit(Text(absl::StrCat(proc, "/locks")), '\n')) {
    const std::vector<absl::string_view> fields = absl::StrSplit(line, ' ', absl::SkipEmpty());
    const std::optional<FileId> id = LockedFile(fields);
    if (!id.has_value() || !ids.contains(*id) || fields[4] == own) continue;
    return absl::StrCat("process ", fields[4], " holds a lock in it");
  }
  return "";
}

std::string ExportOf(const std::string& path, const std::string& proc) {
  for (const absl::string_view line : absl::StrSplit(Text(absl::StrCat(proc, "/fs/nfs/exports")), '\n')) {
    if (!absl::StartsWith(line, "/")) continue;
    const std::string exported = UnescapeMountField(line.substr(0, line.find_first_of(" \t")));
    if (exported == path || absl::StartsWith(exported, absl::StrCat(path, "/"))) {
      return absl::StrCat(exported, " is exported to other machines by NFS");
    }
  }
  return "";
}

bool IsOpenForWriting(int fd) {
  // When a program opens the file for writing in this very instant, the kernel sends this process a signal, which is
  // one that does nothing.
  if (fcntl(fd, F_SETSIG, SIGURG) != 0) return false;
  if (fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
    fcntl(fd, F_SETLEASE, F_UNLCK);
    return false;
  }
  return errno == EAGAIN;
}

}  // namespace parley::agent
