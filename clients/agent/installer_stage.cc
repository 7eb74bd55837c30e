// Building a new set.
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "clients/agent/file_state.h"
#include "clients/agent/free_space.h"
#include "clients/agent/installer.h"
#include "clients/agent/method_choice.h"
#include "clients/agent/mount_table.h"
#include "clients/agent/new_tree.h"
#include "clients/agent/on_disk.h"
#include "clients/agent/open_files.h"
#include "clients/agent/target_error.h"
#include "clients/agent/target_record.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"
#include "lib/base/proto_time.h"
#include "lib/payload/fileset.h"

namespace parley::agent {
namespace {

// How often somebody may write to a target while its new tree is built, before the tree is not built any more.
constexpr int kRestless = 2;

bool SameEntry(const task::v1::FileEntry& a, const task::v1::FileEntry& b) {
  return a.type() == b.type() && a.mode() == b.mode() && a.size() == b.size() && a.sha256() == b.sha256() &&
         a.link_target() == b.link_target();
}

// Names that the places of targets have are nobody else's.
absl::Status CheckNames(const TargetFolder& folder, const task::v1::Manifest& manifest) {
  for (const task::v1::FileEntry& entry : manifest.files()) {
    if (absl::StartsWith(entry.path(), ".parley") || absl::StrContains(entry.path(), "/.parley")) {
      return Refuse("TARGET_CONFLICT",
                    absl::StrCat(entry.path(), " has a name that updates use themselves; take it out of the set"));
    }
  }
  const bool single = manifest.files_size() == 1 && manifest.files(0).type() == task::v1::FileEntry::TYPE_REGULAR;
  if (folder.kind() == TargetFolder::Kind::kFolder || single) return absl::OkStatus();
  return Refuse("TARGET_SINGLE_FILE",
                absl::StrCat(folder.target(), " is a single file, and the set is not; publish one ",
                             "plain file, or choose a folder"));
}

// Who the client is stands in the folder of its state, which no set may write to, whatever path leads there.
class StateGuard {
 public:
  StateGuard(const TargetFolder& folder, const std::string& state) : folder_(folder), shown_(state) {
    state_ = WithoutLinks(state);
    // A target that somebody has put into that folder, beside what the client keeps there.
    if (folder.target() != state_ && IsInOrIs(folder.target(), state_)) state_ += "/tasks";
    id_ = FileIdOf(state_);
  }

  std::string PathOf(const std::string& entry) const {
    return absl::StrCat(folder_.root_path(), "/", folder_.OnDisk(entry));
  }

  bool Concerns(const std::string& entry) {
    const std::string path = PathOf(entry);
    return IsInOrIs(path, state_) || IsInOrIs(state_, path) || IsBelowIt(path);
  }

  absl::Status Check(const std::string& entry) {
    if (!Concerns(entry)) return absl::OkStatus();
    return Refuse("TARGET_CONFLICT", absl::StrCat(PathOf(entry), " would change ", shown_,
                                                  ", the folder of this client's own state; take it out of the set, or "
                                                  "give the client another folder for its state"));
  }

 private:
  // By what the folders above the path are, up to the target.
  bool IsBelowIt(const std::string& path) {
    if (!id_.has_value()) return false;
    const size_t top = folder_.root_path().size();
    for (size_t slash = path.rfind('/'); slash != std::string::npos && slash > top;
         slash = path.rfind('/', slash - 1)) {
      const std::string above = path.substr(0, slash);
      if (others_.count(above) > 0) return false;
      if (FileIdOf(above) == id_) return true;
    }
    if (const size_t slash = path.rfind('/'); slash > top) others_.insert(path.substr(0, slash));
    return false;
  }

  const TargetFolder& folder_;
  const std::string shown_;
  std::string state_;
  std::optional<FileId> id_;
  // Folders that have nothing of the state above them.
  std::set<std::string> others_;
};

absl::Status CheckState(const TargetFolder& folder, const task::v1::Manifest& manifest,
                        const std::vector<std::string>& fixed) {
  for (const std::string& state : fixed) {
    StateGuard guard(folder, state);
    for (const task::v1::FileEntry& entry : manifest.files()) RETURN_IF_ERROR(guard.Check(entry.path()));
  }
  return absl::OkStatus();
}

bool IsEmpty(const TargetFolder& folder) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder.target(), error)) {
    if (entry.path() != folder.place_path()) return false;
  }
  return true;
}

absl::Status Unusable(const TargetFolder& folder, int root, int error) {
  // A want of descriptors passes, and is not a person's to mend.
  if (error == ENOTDIR) return Refuse("TARGET_NOT_FOLDER", absl::StrCat(folder.target(), " is not a folder"));
  if (error != EACCES && error != EPERM) return FileError("update", folder.target(), error);
  if (root >= 0 && IsProtected(root)) {
    return Refuse("TARGET_IMMUTABLE",
                  absl::StrCat(folder.target(), " may not be changed (chattr +i); take that flag away"));
  }
  return Error(absl::StatusCode::kPermissionDenied, "TARGET_PERMISSION",
               absl::StrCat("no permission to update ", folder.target(), ": ", ErrnoText(error),
                            "; run as a user who may write there"));
}

// What is put into a folder that is append-only cannot be taken out of it again.
absl::Status CheckCanBeMade(const TargetFolder& folder) {
  if (!IsProtected(folder.parent())) return absl::OkStatus();
  return Refuse("TARGET_IMMUTABLE", absl::StrCat("the folder above ", folder.target(),
                                                 " may not be changed (chattr +i or +a); take that flag away"));
}

// An undecided update of the same folder by another path would take it away too. By the one path it is a mount, by the
// other it is not, so that the places differ.
absl::Status CheckOtherPaths(const TargetFolder& folder, const std::string& proc) {
  const Fd root = folder.OpenRoot();
  if (!root.ok() || folder.kind() == TargetFolder::Kind::kFile) return absl::OkStatus();
  std::vector<std::string> paths = MountTables::Read(proc).OtherPathsOf(MountIdOf(root.get()), folder.target());
  // A container's, whose paths are not seen here.
  paths.push_back(folder.target());
  for (const std::string& path : paths) {
    for (const std::string& place : PlacesOf(path)) {
      if (folder.IsOwnPlace(place) || !IsShownUndecided(place)) continue;
      return Error(absl::StatusCode::kAborted, "TARGET_TURN",
                   absl::StrCat("an update of ", folder.target(), " by another path of it, with its place ", place,
                                ", is not decided yet"));
    }
  }
  return absl::OkStatus();
}

// An update that is undecided around this target would take away with its rollback what is put in here.
absl::Status CheckAround(const TargetFolder& folder) {
  for (std::string above = folder.parent_path(); above.size() > 1; above = FolderOf(above)) {
    for (const std::string& place : PlacesOf(above)) {
      if (!IsShownUndecided(place)) continue;
      return Error(absl::StatusCode::kAborted, "TARGET_TURN",
                   absl::StrCat(folder.target(), " lies in ", above, ", of which an update is not decided yet"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

bool Installer::HoldsNothing() const {
  const bool is_file = folder_->kind() == TargetFolder::Kind::kFile;
  return is_file ? access(folder_->target().c_str(), F_OK) != 0 : IsEmpty(*folder_);
}

absl::Status Installer::Check(const std::string& task, const task::v1::Manifest& manifest) const {
  struct statvfs space;
  if (fstatvfs(folder_->place(), &space) != 0) return FileError("read", folder_->place_path(), errno);
  if ((space.f_flag & ST_RDONLY) != 0) return FileError("update", folder_->target(), EROFS);
  const bool known = FreeBytes(space) > 0;
  if (known && space.f_bavail < static_cast<uint64_t>(manifest.size()) / std::max<uint64_t>(space.f_frsize, 1)) {
    return FileError("update", folder_->target(), ENOSPC);
  }
  return Choose(task, manifest, "");
}

absl::Status Installer::Choose(const std::string& task, const task::v1::Manifest& manifest,
                               const std::string& state_folder) const {
  choice_ = Method::kExchange;
  choice_reason_.clear();
  RETURN_IF_ERROR(CheckAround(*folder_));
  RETURN_IF_ERROR(CheckOtherPaths(*folder_, options_.proc));
  RETURN_IF_ERROR(CheckNames(*folder_, manifest));
  RETURN_IF_ERROR(CheckState(*folder_, manifest, options_.fixed));
  const Fd target = folder_->OpenRoot();
  if (!target.ok() && errno == ENOENT) return CheckCanBeMade(*folder_);
  if (!target.ok() || faccessat(target.get(), ".", R_OK | W_OK | X_OK, AT_EACCESS) != 0) {
    return Unusable(*folder_, target.get(), errno);
  }
  ChoiceInput input{.wanted = options_.method,
                    .limits = options_.limits,
                    .proc = options_.proc,
                    .sys = options_.sys,
                    .fixed = options_.fixed,
                    .restless = folder_->changes() >= kRestless};
  if (!state_folder.empty()) input.fixed.push_back(state_folder);
  ASSIGN_OR_RETURN(const MethodChoice choice, ChooseMethod(*folder_, input));
  choice_ = choice.method;
  choice_reason_ = choice.why;
  if (choice_ == Method::kExchange) {
    return CheckWays(target.get(), manifest, Dropped(task, manifest), folder_->target());
  }
  return CheckFiles(*folder_, MakeSet(task, manifest, nullptr), options_.proc, options_.sys);
}

NewSet Installer::MakeSet(const std::string& task, const task::v1::Manifest& manifest,
                          const ReadChunk* read_chunk) const {
  return {.manifest = &manifest,
          .read_chunk = read_chunk,
          .unchanged = Unchanged(manifest),
          .dropped = Dropped(task, manifest)};
}

std::set<std::string> Installer::Dropped(const std::string& task, const task::v1::Manifest& manifest) const {
  // A single file is the same one under every name.
  if (folder_->kind() == TargetFolder::Kind::kFile) return {};
  InstalledFiles files;
  for (const task::v1::FileEntry& entry : manifest.files()) files.Add()->set_path(entry.path());
  std::set<std::string> dropped = DroppedPaths(record_, task, manifest.supersedes(), files);
  // An earlier version let a set write to the state. Whoever the client is by now stands there.
  for (const std::string& state : options_.fixed) {
    StateGuard guard(*folder_, state);
    std::erase_if(dropped, [&guard](const std::string& path) { return guard.Concerns(path); });
  }
  return dropped;
}

// What cannot be read counts as changed: it is replaced, and the digest that is read back says whether that was right.
std::set<std::string> Installer::Unchanged(const task::v1::Manifest& manifest) const {
  std::set<std::string> unchanged;
  for (const task::v1::FileEntry& entry : manifest.files()) {
    const absl::StatusOr<payload::Files> found = ScanOnDisk(*folder_, entry.path());
    if (found.ok() && !found->empty() && SameEntry(found->Get(0), entry)) unchanged.insert(entry.path());
  }
  return unchanged;
}

void Installer::BeginJournal(const UpdatePlan& plan, const task::v1::Manifest& manifest) {
  journal_.emplace();
  journal_->set_task(plan.task);
  journal_->set_revision(manifest.revision());
  journal_->set_attempt(plan.attempt);
  journal_->set_digest(manifest.digest());
  journal_->set_state_folder(plan.state_folder);
  journal_->set_supersedes(manifest.supersedes());
  for (const task::v1::FileEntry& entry : manifest.files()) {
    InstalledFile* const file = journal_->add_files();
    file->set_path(entry.path());
    payload::Files alone;
    *alone.Add() = entry;
    file->set_digest(payload::DigestFiles(alone));
  }
  journal_->set_nothing_before(HoldsNothing());
  Journal::Plan* const kept = journal_->mutable_plan();
  kept->set_check(plan.hooks.check);
  kept->set_apply(plan.hooks.apply);
  *kept->mutable_check_timeout() = ToProto(plan.hooks.check_timeout);
  *kept->mutable_apply_timeout() = ToProto(plan.hooks.apply_timeout);
  *kept->mutable_confirm_timeout() = ToProto(plan.confirm_timeout);
  kept->mutable_variables()->insert(plan.variables.begin(), plan.variables.end());
}

absl::Status Installer::Stage(const UpdatePlan& plan, const task::v1::Manifest& manifest, const ReadChunk& read_chunk) {
  RETURN_IF_ERROR(CheckRevision(plan.task, manifest));
  RETURN_IF_ERROR(UndoUnfinished());
  RETURN_IF_ERROR(Choose(plan.task, manifest, plan.state_folder));
  const absl::Status status = StageChosen(plan, manifest, read_chunk);
  if (Reason(status) != "TARGET_COPY" || choice_ != Method::kExchange) return status;
  if (options_.method == Method::kExchange) return ButFilesWould(status);
  // What cannot be copied stays where it is.
  choice_ = Method::kFiles;
  choice_reason_ = std::string(status.message());
  RETURN_IF_ERROR(CheckFiles(*folder_, MakeSet(plan.task, manifest, nullptr), options_.proc, options_.sys));
  return StageChosen(plan, manifest, read_chunk);
}

absl::Status Installer::StageChosen(const UpdatePlan& plan, const task::v1::Manifest& manifest,
                                    const ReadChunk& read_chunk) {
  BeginJournal(plan, manifest);
  method_ = MakeMethod(choice_);
  absl::Status status = method_->Stage(MakeSet(plan.task, manifest, &read_chunk), &*journal_);
  if (status.ok()) status = WriteJournal(Journal::PHASE_STAGED);
  if (!status.ok()) CleanUp().IgnoreError();
  return status;
}

}  // namespace parley::agent
