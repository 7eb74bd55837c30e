#include "clients/agent/file_method.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "clients/agent/file_state.h"
#include "clients/agent/kernel_users.h"
#include "clients/agent/metadata.h"
#include "clients/agent/mount_table.h"
#include "clients/agent/mounts.h"
#include "clients/agent/new_tree.h"
#include "clients/agent/place.h"
#include "clients/agent/target_error.h"
#include "clients/agent/tree.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/payload/beneath.h"

namespace parley::agent {
namespace {

std::string NewName(int number) { return absl::StrCat(place::kNew, "/", number); }
std::string OldName(int number) { return absl::StrCat(place::kOld, "/", number); }

// What the file system cannot do, as opposed to what it may not.
bool NotSupported(int error) { return error == EINVAL || error == ENOSYS || error == EOPNOTSUPP; }

int RenameNew(int from, const std::string& old_name, int to, const std::string& name) {
  const int result = renameat2(from, old_name.c_str(), to, name.c_str(), RENAME_NOREPLACE);
  if (result == 0 || !NotSupported(errno)) return result;
  if (InodeOf(to, name) == 0) return renameat(from, old_name.c_str(), to, name.c_str());
  errno = EEXIST;
  return -1;
}

int Exchange(int from, const std::string& a, int to, const std::string& b) {
  return renameat2(from, a.c_str(), to, b.c_str(), RENAME_EXCHANGE);
}

// The folder of a path, made anew with those above it when somebody has removed it.
Fd FolderFor(int root, const std::string& path) {
  Fd folder = OpenFolderOnMount(root, path);
  for (size_t slash = path.find('/'); !folder.ok() && errno == ENOENT && slash != std::string::npos;) {
    const std::string above = path.substr(0, slash);
    const Fd inner = OpenFolderOnMount(root, above);
    if (inner.ok()) mkdirat(inner.get(), payload::LastPart(above).c_str(), 0755);
    slash = path.find('/', slash + 1);
    if (slash == std::string::npos) folder = OpenFolderOnMount(root, path);
  }
  return folder;
}

}  // namespace

absl::Status FileMethod::StepError(const std::string& path, int error) const {
  const std::string shown = absl::StrCat(folder_.root_path(), "/", path);
  const std::string sentence = absl::StrCat("cannot put another ", shown, " in place: ", ErrnoText(error));
  switch (error) {
    case EBUSY:
    case EXDEV:
      return Refuse("TARGET_MOUNT",
                    absl::StrCat(sentence, "; something is mounted there, or it is a folder of a container's image"));
    case EEXIST:
    case ENOENT:
    case ENOTDIR:
    case ELOOP:
      return Error(absl::StatusCode::kAborted, "TARGET_CHANGED",
                   absl::StrCat("somebody changed ", shown, " meanwhile; stop what writes there and try again"));
    case EPERM:
      return Refuse("TARGET_IMMUTABLE",
                    absl::StrCat(sentence, "; see with lsattr whether it, or its folder, may not be changed"));
    case EACCES:
      return Error(absl::StatusCode::kPermissionDenied, "TARGET_PERMISSION", sentence);
    default:
      return FileError("replace", shown, error);
  }
}

// What is mounted over the target, or lay below it when it was a mount, is not the target.
absl::Status FileMethod::CheckMount(const Fd& root) const {
  if (MountIdOf(root.get()) == MountIdOf(folder_.place())) return absl::OkStatus();
  return Refuse("TARGET_MOUNT", absl::StrCat("something was mounted over ", folder_.root_path(), ", or unmounted from ",
                                             "there, during the update; undo that"));
}

absl::Status FileMethod::Build(int number, const PlannedStep& step, const ReadChunk& read_chunk,
                               Journal::FileStep* made) {
  made->set_path(step.path);
  made->set_replaces(step.replaces);
  made->set_old_state(step.old_state);
  if (step.entries.empty()) return absl::OkStatus();
  const Fd root = folder_.OpenRoot();
  const Fd home = OpenFolderOnMount(root.get(), step.path);
  if (!home.ok()) return FileError("read", folder_.root_path(), errno);
  const task::v1::FileEntry& first = *step.entries[0];
  if (folder_.OnDisk(first.path()) == step.path) {
    const Fd old = OpenOldFile(root.get(), step.path);
    RETURN_IF_ERROR(
        WriteEntry(folder_.place(), NewName(number), first, old.get(), home.get(), read_chunk, folder_.root_path()));
  } else {
    if (mkdirat(folder_.place(), NewName(number).c_str(), 0755) != 0) {
      return FileError("write", folder_.place_path(), errno);
    }
    const Fd top = OpenOnMount(folder_.place(), NewName(number), O_RDONLY | O_DIRECTORY);
    if (!top.ok()) return FileError("write", folder_.place_path(), errno);
    RETURN_IF_ERROR(DressFolder(top.get(), home.get(), absl::StrCat(folder_.root_path(), "/", step.path)));
    for (const task::v1::FileEntry* entry : step.entries) {
      const std::string inner = entry->path().substr(step.path.size() + 1);
      RETURN_IF_ERROR(WriteEntry(top.get(), inner, *entry, -1, -1, read_chunk, folder_.root_path()));
    }
  }
  made->set_new_inode(InodeOf(folder_.place(), NewName(number)));
  return absl::OkStatus();
}

absl::Status FileMethod::Stage(const NewSet& set, Journal* journal) {
  ClearPlace(folder_, proc_);
  ASSIGN_OR_RETURN(const std::vector<PlannedStep> steps, PlanSteps(folder_, set));
  for (const char* name : {place::kNew, place::kOld}) {
    if (mkdirat(folder_.place(), name, 0700) != 0) return FileError("write", folder_.place_path(), errno);
  }
  journal->set_method(Journal::METHOD_FILES);
  for (size_t i = 0; i < steps.size(); ++i) {
    RETURN_IF_ERROR(Build(static_cast<int>(i), steps[i], *set.read_chunk, journal->add_steps()));
  }
  const Fd built = OpenOnMount(folder_.place(), place::kNew, O_RDONLY | O_DIRECTORY);
  if (!built.ok()) return FileError("write", folder_.place_path(), errno);
  RETURN_IF_ERROR(SyncTree(built.get(), folder_.place_path()));
  return fsync(folder_.place()) == 0 ? absl::OkStatus() : FileError("write", folder_.place_path(), errno);
}

bool FileMethod::IsDone(int number, const Journal::FileStep& step) const {
  if (step.new_inode() == 0) return InodeOf(folder_.place(), OldName(number)) != 0;
  return InodeOf(folder_.place(), NewName(number)) != step.new_inode();
}

bool FileMethod::IsUntouched(int number, const Journal::FileStep& step) const {
  return !IsDone(number, step) && InodeOf(folder_.place(), OldName(number)) == 0;
}

SwapMethod::Place FileMethod::WhereIsWhat(const Journal& journal) const {
  bool all = true, none = true;
  for (int i = 0; i < journal.steps_size(); ++i) {
    all = all && IsDone(i, journal.steps(i));
    none = none && IsUntouched(i, journal.steps(i));
  }
  return all ? Place::kNewInstalled : none ? Place::kOldInstalled : Place::kBetween;
}

// Between the look at the old entry and the rename of it somebody may have put another one there, or have opened it to
// write to it, which would be lost. What was taken is in the place, where nobody else gets at it.
bool FileMethod::TookWhatWasSeen(const std::string& name, const Journal::FileStep& step) const {
  struct statx info;
  if (!StatEntry(folder_.place(), name, &info) || !IsSameButRenamed(step.old_state(), FileState(info))) return false;
  return proc_.empty() || !IsOpenForWriting(OpenOldFile(folder_.place(), name).get());
}

// In two renames where one cannot exchange: between them the old entry is still there under its name, by a second link,
// where there can be one.
absl::Status FileMethod::Replace(int number, const Journal::FileStep& step, int folder, const std::string& name) const {
  if (can_exchange_) {
    if (Exchange(folder_.place(), NewName(number), folder, name) == 0) {
      if (TookWhatWasSeen(NewName(number), step)) return absl::OkStatus();
      if (Exchange(folder_.place(), NewName(number), folder, name) != 0) return StepError(step.path(), errno);
      return StepError(step.path(), EEXIST);
    }
    if (!NotSupported(errno)) return StepError(step.path(), errno);
  }
  if (linkat(folder, name.c_str(), folder_.place(), OldName(number).c_str(), 0) != 0 &&
      renameat(folder, name.c_str(), folder_.place(), OldName(number).c_str()) != 0) {
    return StepError(step.path(), errno);
  }
  // The swap ends with this error, and what was taken is brought back as one of its steps.
  if (!TookWhatWasSeen(OldName(number), step)) return StepError(step.path(), EEXIST);
  if (renameat(folder_.place(), NewName(number).c_str(), folder, name.c_str()) == 0) return absl::OkStatus();
  return StepError(step.path(), errno);
}

absl::Status FileMethod::Do(int number, const Journal::FileStep& step) const {
  const Fd root = folder_.OpenRoot();
  if (!root.ok()) return StepError(step.path(), errno);
  RETURN_IF_ERROR(CheckMount(root));
  const Fd folder = OpenFolderOnMount(root.get(), step.path());
  if (!folder.ok()) return StepError(step.path(), errno);
  const std::string name = payload::LastPart(step.path());
  struct statx info;
  const bool there = StatEntry(folder.get(), name, &info);
  if (there != step.replaces()) return StepError(step.path(), there ? EEXIST : ENOENT);
  if (there && IsMountRoot(folder.get(), info)) return StepError(step.path(), EBUSY);
  if (there && FileState(info) != step.old_state()) return StepError(step.path(), EEXIST);
  if (step.new_inode() == 0) {
    if (renameat(folder.get(), name.c_str(), folder_.place(), OldName(number).c_str()) != 0) {
      return StepError(step.path(), errno);
    }
    // The swap ends with this error, and the entry is brought back as one of its steps.
    return TookWhatWasSeen(OldName(number), step) ? absl::OkStatus() : StepError(step.path(), EEXIST);
  }
  if (there) return Replace(number, step, folder.get(), name);
  if (RenameNew(folder_.place(), NewName(number), folder.get(), name) == 0) return absl::OkStatus();
  return StepError(step.path(), errno);
}

absl::Status FileMethod::Swap(const Journal& journal) {
  for (int i = 0; i < journal.steps_size(); ++i) RETURN_IF_ERROR(Do(i, journal.steps(i)));
  return Sync(journal);
}

absl::Status FileMethod::CheckSwapped(const Journal& journal) const {
  for (int i = 0; i < journal.steps_size(); ++i) {
    const Journal::FileStep& step = journal.steps(i);
    const bool kept_as_old = InodeOf(folder_.place(), OldName(i)) != 0;
    if (step.replaces() && !TookWhatWasSeen(kept_as_old ? OldName(i) : NewName(i), step)) {
      return StepError(step.path(), EEXIST);
    }
  }
  return absl::OkStatus();
}

// The target's folder, made anew when somebody has removed it.
absl::StatusOr<Fd> FileMethod::RootForUndo() const {
  Fd root = folder_.OpenRoot();
  if (!root.ok() && errno == ENOENT && folder_.kind() == TargetFolder::Kind::kFolder && !folder_.is_mount() &&
      mkdirat(folder_.parent(), folder_.name().c_str(), 0755) == 0) {
    root = folder_.OpenRoot();
  }
  if (root.ok()) {
    RETURN_IF_ERROR(CheckMount(root));
    return root;
  }
  if (errno != ENOTDIR && errno != ELOOP) return FileError("open", folder_.target(), errno);
  return NoFolderAnyMore(folder_.target());
}

absl::Status FileMethod::NoFolderAnyMore(absl::string_view what) const {
  return Refuse("TARGET_NOT_FOLDER",
                absl::StrCat(what, " is no folder any more, and its old files are in ", folder_.place_path(),
                             "; move away what is there now, and they come back"));
}

absl::Status FileMethod::Undo(int number, const Journal::FileStep& step) const {
  if (IsUntouched(number, step)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Fd root, RootForUndo());
  const Fd folder = FolderFor(root.get(), step.path());
  if (!folder.ok() && (errno == ENOTDIR || errno == ELOOP)) {
    return NoFolderAnyMore(absl::StrCat("what should hold ", folder_.root_path(), "/", step.path()));
  }
  if (!folder.ok()) return StepError(step.path(), errno);
  const std::string name = payload::LastPart(step.path());
  const int place = folder_.place();
  const uint64_t in_new = InodeOf(place, NewName(number));
  if (step.new_inode() == 0 || InodeOf(place, OldName(number)) != 0) {
    // The old entry was moved or linked to "old". A second name for the same file would make a rename do nothing.
    if (InodeOf(place, OldName(number)) == InodeOf(folder.get(), name)) {
      unlinkat(place, OldName(number).c_str(), 0);
      return absl::OkStatus();
    }
    if (RenameNew(place, OldName(number), folder.get(), name) == 0) return absl::OkStatus();
    if (errno == EEXIST && renameat(place, OldName(number).c_str(), folder.get(), name.c_str()) == 0) {
      return absl::OkStatus();
    }
    return StepError(step.path(), errno);
  }
  if (step.replaces()) {
    // Missing: it was brought back before, where nothing stood any more.
    if (in_new == 0) return absl::OkStatus();
    if (Exchange(place, NewName(number), folder.get(), name) == 0) return absl::OkStatus();
    if (errno == ENOENT && RenameNew(place, NewName(number), folder.get(), name) == 0) return absl::OkStatus();
    return StepError(step.path(), errno);
  }
  if (InodeOf(folder.get(), name) == 0) return absl::OkStatus();
  if (RenameNew(folder.get(), name, place, NewName(number)) == 0) return absl::OkStatus();
  return StepError(step.path(), errno);
}

// Whether the entry that was there before the step is there.
bool FileMethod::StandsAsBefore(const Journal::FileStep& step) const {
  const Fd root = folder_.OpenRoot();
  const Fd folder = OpenFolderOnMount(root.get(), step.path());
  const uint64_t inode = folder.ok() ? InodeOf(folder.get(), payload::LastPart(step.path())) : 0;
  return inode != 0 && absl::StartsWith(step.old_state(), absl::StrCat(inode, " "));
}

// What can be brought back is brought back, even if another step cannot.
absl::Status FileMethod::SwapBack(const Journal& journal) {
  absl::Status first;
  // Somebody has removed what Stage made: the place, or what was in it.
  const bool lost = InodeOf(folder_.place(), place::kNew) == 0 || InodeOf(folder_.place(), place::kOld) == 0;
  for (const char* name : {place::kNew, place::kOld}) mkdirat(folder_.place(), name, 0700);
  for (int i = journal.steps_size() - 1; i >= 0; --i) {
    const Journal::FileStep& step = journal.steps(i);
    absl::Status status = Undo(i, step);
    if (lost && status.ok() && step.replaces() && !StandsAsBefore(step)) {
      status = OldSetLost(absl::StrCat(folder_.root_path(), "/", step.path()), folder_.place_path());
    }
    if (first.ok()) first = status;
  }
  RETURN_IF_ERROR(first);
  return Sync(journal);
}

// The folders in which names have changed.
absl::Status FileMethod::Sync(const Journal& journal) const {
  const Fd root = folder_.OpenRoot();
  if (folder_.kind() == TargetFolder::Kind::kFolder && fsync(folder_.parent()) != 0) {
    return FileError("write", folder_.target(), errno);
  }
  std::set<std::string> synced;
  for (const Journal::FileStep& step : journal.steps()) {
    if (!synced.insert(step.path().substr(0, step.path().rfind('/') + 1)).second) continue;
    const Fd folder = OpenFolderOnMount(root.get(), step.path());
    if (folder.ok() && fsync(folder.get()) != 0) return FileError("write", folder_.root_path(), errno);
  }
  for (const char* name : {place::kNew, place::kOld}) {
    const Fd folder = OpenOnMount(folder_.place(), name, O_RDONLY | O_DIRECTORY);
    if (folder.ok() && fsync(folder.get()) != 0) return FileError("write", folder_.place_path(), errno);
  }
  return absl::OkStatus();
}

}  // namespace parley::agent
