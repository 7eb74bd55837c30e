#include "clients/agent/exchange_method.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "clients/agent/file_state.h"
#include "clients/agent/method_choice.h"
#include "clients/agent/mounts.h"
#include "clients/agent/new_tree.h"
#include "clients/agent/place.h"
#include "clients/agent/target_error.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"
#include "lib/payload/beneath.h"

namespace parley::agent {
namespace {

// The tree that is not in use: first the new one, and after the swap the old one.
constexpr const char* kTree = place::kTree;

// When the entry was made, in nanoseconds since 1970; 0 where that is not known.
int64_t BirthOf(int folder, const std::string& name) {
  struct statx info;
  if (statx(folder, name.c_str(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BTIME, &info) != 0 ||
      (info.stx_mask & STATX_BTIME) == 0) {
    return 0;
  }
  return info.stx_btime.tv_sec * int64_t{1'000'000'000} + info.stx_btime.tv_nsec;
}

// Whether the target is the new tree, and no other folder that has got its number.
bool IsNewTree(const TargetFolder& folder, const Journal& journal) {
  if (InodeOf(folder.parent(), folder.name()) != journal.new_inode()) return false;
  const int64_t birth = BirthOf(folder.parent(), folder.name());
  return birth == 0 || journal.new_birth() == 0 || birth == journal.new_birth();
}

absl::Status SyncFd(int folder, const std::string& shown) {
  return fsync(folder) == 0 ? absl::OkStatus() : FileError("write", shown, errno);
}

absl::Status SwapError(const std::string& target, int error) {
  const std::string sentence = absl::StrCat("cannot swap ", target, " for its new set: ", ErrnoText(error));
  switch (error) {
    case EBUSY:
    case EXDEV:
    case EINVAL:
      return Refuse("TARGET_MOUNT",
                    absl::StrCat(sentence, "; its file system cannot exchange this folder (a mount, or a ",
                                 "layer of a container image)"));
    case EACCES:
    case EPERM:
      return Error(absl::StatusCode::kPermissionDenied, "TARGET_PERMISSION", sentence);
    default:
      return FileError("swap", target, error);
  }
}

absl::Status Changed(const std::string& target) {
  return Error(absl::StatusCode::kAborted, "TARGET_CHANGED",
               absl::StrCat("somebody wrote to ", target, " or replaced it while its new set was being put in place; ",
                            "stop what writes there and try again"));
}

}  // namespace

std::string ExchangeMethod::OldSetPath() const { return absl::StrCat(folder_.place_path(), "/", kTree); }

absl::Status ExchangeMethod::CopyOld(const NewSet& set, int target, int tree) {
  std::set<std::string> skipped = set.dropped;
  std::vector<std::string> needed;
  for (const task::v1::FileEntry& entry : set.manifest->files()) {
    if (set.unchanged.count(entry.path()) == 0) skipped.insert(entry.path());
    needed.push_back(entry.path());
  }
  RETURN_IF_ERROR(CopyTree(target, tree, folder_.target(),
                           [&skipped](const std::string& path) { return skipped.count(path) > 0; }));
  RemoveEmptyFolders(tree, set.dropped, needed);
  return absl::OkStatus();
}

absl::Status ExchangeMethod::Stage(const NewSet& set, Journal* journal) {
  ClearPlace(folder_, proc_);
  if (mkdirat(folder_.place(), kTree, 0700) != 0) return FileError("write", folder_.place_path(), errno);
  const Fd tree = payload::OpenBeneath(folder_.place(), kTree, O_RDONLY | O_DIRECTORY);
  if (!tree.ok()) return FileError("write", folder_.place_path(), errno);
  const Fd target = folder_.OpenRoot();
  if (!target.ok() && errno != ENOENT) return FileError("read", folder_.target(), errno);
  if (target.ok()) {
    ASSIGN_OR_RETURN(*journal->mutable_old_fingerprint(), Fingerprint(target.get(), folder_.target(), limits_));
    RETURN_IF_ERROR(CopyOld(set, target.get(), tree.get()));
  } else if (fchmod(tree.get(), 0755) != 0) {
    return FileError("write", folder_.place_path(), errno);
  }
  RETURN_IF_ERROR(WriteFiles(tree.get(), target.get(), set, folder_.target()));
  RETURN_IF_ERROR(SyncTree(tree.get(), folder_.place_path()));
  journal->set_method(Journal::METHOD_EXCHANGE);
  journal->set_new_inode(InodeOf(folder_.place(), kTree));
  journal->set_new_birth(BirthOf(folder_.place(), kTree));
  journal->set_old_inode(InodeOf(folder_.parent(), folder_.name()));
  return SyncFd(folder_.place(), folder_.place_path());
}

absl::Status ExchangeMethod::CheckUnchanged(int root, const Journal& journal) const {
  ASSIGN_OR_RETURN(const std::string fingerprint, Fingerprint(root, folder_.target(), limits_));
  if (fingerprint != journal.old_fingerprint()) return Changed(folder_.target());
  return CheckNobodyWrites(root, folder_.target(), proc_, sys_);
}

// Between the last look and the exchange a program may have written to the target, or another folder may have taken its
// name. What was swapped out is in the place, where nobody else gets at it.
absl::Status ExchangeMethod::CheckSwapped(const Journal& journal) const {
  // A version of before did not note what it had looked at.
  if (journal.old_inode() == 0 || journal.old_fingerprint().empty()) return absl::OkStatus();
  if (InodeOf(folder_.place(), kTree) != journal.old_inode()) return Changed(folder_.target());
  const Fd old = OpenOnMount(folder_.place(), kTree, O_RDONLY | O_DIRECTORY);
  if (!old.ok()) return FileError("read", absl::StrCat(folder_.place_path(), "/", kTree), errno);
  return CheckUnchanged(old.get(), journal);
}

absl::Status ExchangeMethod::Swap(const Journal& journal) {
  const bool exchange = journal.old_inode() != 0;
  if (exchange) {
    const Fd target = folder_.OpenRoot();
    if (!target.ok()) return FileError("read", folder_.target(), errno);
    RETURN_IF_ERROR(CheckUnchanged(target.get(), journal));
  }
  if (renameat2(folder_.place(), kTree, folder_.parent(), folder_.name().c_str(),
                exchange ? RENAME_EXCHANGE : RENAME_NOREPLACE) != 0) {
    return SwapError(folder_.target(), errno);
  }
  if (const absl::Status swapped = CheckSwapped(journal); !swapped.ok()) {
    RETURN_IF_ERROR(SwapBack(journal));
    return swapped;
  }
  return SyncBoth();
}

SwapMethod::Place ExchangeMethod::WhereIsWhat(const Journal& journal) const {
  const uint64_t target = InodeOf(folder_.parent(), folder_.name());
  const uint64_t tree = InodeOf(folder_.place(), kTree);
  if (IsNewTree(folder_, journal)) return Place::kNewInstalled;
  if (journal.old_inode() != 0 && target == journal.old_inode()) return Place::kOldInstalled;
  // Whatever the target is by now: the new tree has never been there.
  if (tree == journal.new_inode() || (tree == 0 && target == journal.old_inode())) return Place::kOldInstalled;
  return Place::kUnknown;
}

absl::Status ExchangeMethod::SyncBoth() const {
  RETURN_IF_ERROR(SyncFd(folder_.parent(), folder_.target()));
  return SyncFd(folder_.place(), folder_.place_path());
}

// Somebody has removed or moved the new set. The old one is still in the place, and nobody else gets at it there.
absl::Status ExchangeMethod::BringBack(const Journal& journal) {
  if (IsMount(folder_.parent(), folder_.name())) {
    return Refuse("TARGET_MOUNT", absl::StrCat("something is mounted over ", folder_.target(), "; unmount it"));
  }
  // There was none, and what is there now is not ours.
  if (journal.old_inode() == 0) return absl::OkStatus();
  if (InodeOf(folder_.place(), kTree) != journal.old_inode()) {
    if (folder_.lost_place()) return OldSetLost(folder_.target(), folder_.place_path());
    return Refuse("TARGET_CHANGED", absl::StrCat("somebody took the old set of ", folder_.target(), " out of ",
                                                 folder_.place_path(), " during an update; put it at ",
                                                 folder_.target(), " and remove ", folder_.place_path(), "/journal"));
  }
  const bool occupied = InodeOf(folder_.parent(), folder_.name()) != 0;
  if (renameat2(folder_.place(), kTree, folder_.parent(), folder_.name().c_str(),
                occupied ? RENAME_EXCHANGE : RENAME_NOREPLACE) != 0) {
    return SwapError(folder_.target(), errno);
  }
  if (occupied) MoveForeignTreeAside(folder_);
  return SyncBoth();
}

absl::Status ExchangeMethod::SwapBack(const Journal& journal) {
  switch (WhereIsWhat(journal)) {
    case Place::kOldInstalled:
      return absl::OkStatus();
    case Place::kBetween:
    case Place::kUnknown:
      return BringBack(journal);
    case Place::kNewInstalled:
      break;
  }
  const bool exchange = journal.old_inode() != 0;
  if (exchange && InodeOf(folder_.place(), kTree) == 0) return OldSetLost(folder_.target(), folder_.place_path());
  if (renameat2(folder_.parent(), folder_.name().c_str(), folder_.place(), kTree,
                exchange ? RENAME_EXCHANGE : RENAME_NOREPLACE) != 0) {
    return SwapError(folder_.target(), errno);
  }
  return SyncBoth();
}

}  // namespace parley::agent
