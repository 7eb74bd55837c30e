#include "clients/agent/installer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "clients/agent/new_tree.h"
#include "clients/agent/record.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/payload/fileset.h"

namespace parley::agent {
namespace {

using payload::Fd;

// In the workplace: the tree that is not in use, first the new one and after the swap the old one.
constexpr char kTree[] = "tree";
// A crash while the apply hook runs is given one more try; a hook that kills the agent each time is not.
constexpr int kMaxApplyRuns = 2;

absl::Status Refuse(absl::string_view reason, absl::string_view sentence) {
  return Error(absl::StatusCode::kFailedPrecondition, reason, sentence);
}

// 0 when there is none.
uint64_t InodeOf(int folder, const std::string& name) {
  struct stat info;
  return fstatat(folder, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 ? info.st_ino : 0;
}

absl::Status SyncFd(int folder, const std::string& shown) {
  return fsync(folder) == 0 ? absl::OkStatus() : FileError("write", shown, errno);
}

std::string InstalledPath(const std::string& state_folder) { return absl::StrCat(state_folder, "/installed"); }

absl::Status SwapError(const std::string& target, int error) {
  const std::string sentence = absl::StrCat("cannot swap ", target, " for its new set: ", ErrnoText(error));
  switch (error) {
    case EBUSY:
    case EXDEV:
    case EINVAL:
      return Refuse("TARGET_MOUNT",
                    absl::StrCat(sentence, "; its file system cannot exchange this folder (a mount, or a ",
                                 "layer of a container image); choose a folder on a plain volume"));
    case EACCES:
    case EPERM:
      return Error(absl::StatusCode::kPermissionDenied, "TARGET_PERMISSION", sentence);
    default:
      return FileError("swap", target, error);
  }
}

}  // namespace

absl::StatusOr<Installer> Installer::Open(Workplace* workplace, Options options) {
  Installer installer(workplace, std::move(options));
  RemoveRecordLitter(installer.JournalPath());
  RemoveRecordLitter(InstalledPath(installer.options_.state_folder));
  RETURN_IF_ERROR(ReadRecord(InstalledPath(installer.options_.state_folder), &installer.installed_).status());
  RETURN_IF_ERROR(installer.Recover());
  return installer;
}

absl::Status Installer::Recover() {
  Journal journal;
  ASSIGN_OR_RETURN(const bool found, ReadRecord(JournalPath(), &journal));
  if (!found) return CleanUp();
  journal_ = std::move(journal);
  switch (journal_->phase()) {
    case Journal::PHASE_COMMITTED:
      return Commit();
    case Journal::PHASE_ROLLING_BACK:
      break;
    default:
      switch (WhereIsWhat()) {
        case Place::kOldInstalled:
          return CleanUp();
        case Place::kUnknown:
          return Refuse("TARGET_CHANGED",
                        absl::StrCat("somebody moved ", workplace_->target(), " during an update; its old set is in ",
                                     workplace_->path(), "/", kTree, ": move it back, or remove ", workplace_->path()));
        case Place::kNewInstalled:
          swapped_ = true;
          if (journal_->task() == options_.task) return absl::OkStatus();
          RETURN_IF_ERROR(
              BeginRollback("interrupted", "the agent stopped during the update, and then did another task"));
      }
  }
  const absl::Status status = FinishRollback();
  // The old set is back; what its hook said is in the record.
  return journal_.has_value() ? status : absl::OkStatus();
}

Installer::Place Installer::WhereIsWhat() const {
  const uint64_t target = InodeOf(workplace_->parent(), workplace_->name());
  const uint64_t tree = InodeOf(workplace_->folder(), kTree);
  if (target == journal_->new_inode()) return Place::kNewInstalled;
  if (target == journal_->old_inode() && (tree == 0 || tree == journal_->new_inode())) return Place::kOldInstalled;
  return Place::kUnknown;
}

std::optional<Installer::Pending> Installer::pending() const {
  if (!swapped_ || !journal_.has_value()) return std::nullopt;
  return Pending{.revision = journal_->revision(),
                 .attempt = journal_->attempt(),
                 .digest = journal_->digest(),
                 .applied = journal_->phase() == Journal::PHASE_APPLIED,
                 .exhausted = journal_->phase() == Journal::PHASE_APPLYING && journal_->apply_runs() >= kMaxApplyRuns,
                 .since = absl::FromUnixSeconds(journal_->phase_time().seconds())};
}

absl::StatusOr<std::string> Installer::InstalledDigest() const { return DigestOf(installed_.paths()); }

absl::StatusOr<std::string> Installer::PendingDigest() const { return DigestOf(journal_->paths()); }

absl::StatusOr<std::string> Installer::DigestOf(const google::protobuf::RepeatedPtrField<std::string>& paths) const {
  payload::Files wanted;
  for (const std::string& path : paths) wanted.Add()->set_path(path);
  ASSIGN_OR_RETURN(const payload::Files files, payload::ScanInstalled(workplace_->target(), wanted));
  return files.empty() ? std::string() : payload::DigestFiles(files);
}

absl::Status Installer::CheckRevision(const task::v1::Manifest& manifest) const {
  if (manifest.revision() < installed_.revision()) {
    return Refuse("REVISION_OLDER",
                  absl::StrCat("revision ", manifest.revision(), " of ", options_.task, " is older than revision ",
                               installed_.revision(), ", which is installed; a task never goes back"));
  }
  if (manifest.revision() == installed_.revision() && manifest.digest() != installed_.digest()) {
    return Refuse("REVISION_CHANGED", absl::StrCat("revision ", manifest.revision(), " of ", options_.task,
                                                   " has other files than when it was installed here"));
  }
  return absl::OkStatus();
}

absl::Status Installer::Check(const task::v1::Manifest& manifest) const {
  struct statvfs space;
  if (fstatvfs(workplace_->folder(), &space) != 0) return FileError("read", workplace_->path(), errno);
  if ((space.f_flag & ST_RDONLY) != 0) return FileError("update", workplace_->target(), EROFS);
  if (space.f_bavail < static_cast<uint64_t>(manifest.size()) / std::max<uint64_t>(space.f_frsize, 1)) {
    return FileError("update", workplace_->target(), ENOSPC);
  }
  if (InodeOf(workplace_->parent(), workplace_->name()) == 0) return absl::OkStatus();
  if (faccessat(workplace_->parent(), workplace_->name().c_str(), R_OK | W_OK | X_OK, AT_EACCESS) != 0) {
    return Error(absl::StatusCode::kPermissionDenied, "TARGET_PERMISSION",
                 absl::StrCat("no permission to update ", workplace_->target(), ": ", ErrnoText(errno),
                              "; run as a user who may write there"));
  }
  const Fd target = payload::OpenBeneath(workplace_->parent(), workplace_->name(), O_RDONLY | O_DIRECTORY);
  if (!target.ok()) return FileError("read", workplace_->target(), errno);
  return Fingerprint(target.get(), workplace_->target(), options_.limits).status();
}

absl::Status Installer::BuildTree(const task::v1::Manifest& manifest, const ReadChunk& read_chunk) {
  RETURN_IF_ERROR(RemoveTree(workplace_->folder(), kTree, workplace_->path()));
  if (mkdirat(workplace_->folder(), kTree, 0700) != 0) return FileError("write", workplace_->path(), errno);
  const Fd tree = payload::OpenBeneath(workplace_->folder(), kTree, O_RDONLY | O_DIRECTORY);
  if (!tree.ok()) return FileError("write", workplace_->path(), errno);
  const Fd target = payload::OpenBeneath(workplace_->parent(), workplace_->name(), O_RDONLY | O_DIRECTORY);
  if (!target.ok() && errno != ENOENT) return FileError("read", workplace_->target(), errno);
  if (target.ok()) {
    ASSIGN_OR_RETURN(fingerprint_, Fingerprint(target.get(), workplace_->target(), options_.limits));
    std::set<std::string> skipped(installed_.paths().begin(), installed_.paths().end());
    for (const task::v1::FileEntry& entry : manifest.files()) skipped.insert(entry.path());
    RETURN_IF_ERROR(CopyTree(target.get(), tree.get(), workplace_->target(),
                             [&skipped](const std::string& path) { return skipped.count(path) > 0; }));
    RemoveEmptyFolders(tree.get(), installed_.paths());
  } else if (fchmod(tree.get(), 0755) != 0) {
    return FileError("write", workplace_->path(), errno);
  }
  RETURN_IF_ERROR(WriteFiles(tree.get(), target.get(), manifest, read_chunk, workplace_->target()));
  RETURN_IF_ERROR(SyncTree(tree.get(), workplace_->path()));
  journal_.emplace();
  journal_->set_new_inode(InodeOf(workplace_->folder(), kTree));
  journal_->set_old_inode(InodeOf(workplace_->parent(), workplace_->name()));
  return SyncFd(workplace_->folder(), workplace_->path());
}

absl::Status Installer::Stage(const task::v1::Manifest& manifest, int32_t attempt, const ReadChunk& read_chunk) {
  RETURN_IF_ERROR(CheckRevision(manifest));
  absl::Status status = BuildTree(manifest, read_chunk);
  if (status.ok()) {
    journal_->set_task(options_.task);
    journal_->set_revision(manifest.revision());
    journal_->set_attempt(attempt);
    journal_->set_digest(manifest.digest());
    journal_->set_state_folder(options_.state_folder);
    for (const task::v1::FileEntry& entry : manifest.files()) journal_->add_paths(entry.path());
    status = WriteJournal(Journal::PHASE_STAGED);
  }
  if (!status.ok()) CleanUp().IgnoreError();
  return status;
}

absl::Status Installer::Swap() {
  const auto give_up = [this](const absl::Status& status) {
    CleanUp().IgnoreError();
    return status;
  };
  if (journal_->old_inode() != 0) {
    const Fd target = payload::OpenBeneath(workplace_->parent(), workplace_->name(), O_RDONLY | O_DIRECTORY);
    if (!target.ok()) return give_up(FileError("read", workplace_->target(), errno));
    const auto fingerprint = Fingerprint(target.get(), workplace_->target(), options_.limits);
    if (!fingerprint.ok()) return give_up(fingerprint.status());
    if (*fingerprint != fingerprint_) {
      return give_up(
          Error(absl::StatusCode::kAborted, "TARGET_CHANGED",
                absl::StrCat("somebody wrote to ", workplace_->target(), " while its new set was being built; ",
                             "stop what writes there and try again")));
    }
  }
  const bool exchange = journal_->old_inode() != 0;
  if (renameat2(workplace_->folder(), kTree, workplace_->parent(), workplace_->name().c_str(),
                exchange ? RENAME_EXCHANGE : RENAME_NOREPLACE) != 0) {
    return give_up(SwapError(workplace_->target(), errno));
  }
  swapped_ = true;
  RETURN_IF_ERROR(SyncFd(workplace_->parent(), workplace_->target()));
  return SyncFd(workplace_->folder(), workplace_->path());
}

HookResult Installer::RunCheck() {
  if (options_.check.empty()) return HookResult();
  return RunHook(options_.check, Variables(journal_->revision(), journal_->digest()), options_.check_timeout);
}

absl::StatusOr<HookResult> Installer::RunApply() {
  HookResult result;
  if (!options_.apply.empty()) {
    journal_->set_apply_runs(journal_->apply_runs() + 1);
    RETURN_IF_ERROR(WriteJournal(Journal::PHASE_APPLYING));
    result = RunHook(options_.apply, Variables(journal_->revision(), journal_->digest()), options_.apply_timeout);
  }
  if (result.status.ok()) RETURN_IF_ERROR(WriteJournal(Journal::PHASE_APPLIED));
  return result;
}

absl::Status Installer::Commit() {
  if (journal_->phase() != Journal::PHASE_COMMITTED) RETURN_IF_ERROR(WriteJournal(Journal::PHASE_COMMITTED));
  const bool own = journal_->state_folder() == options_.state_folder;
  Installed installed;
  installed.set_revision(journal_->revision());
  installed.set_digest(journal_->digest());
  *installed.mutable_paths() = journal_->paths();
  RETURN_IF_ERROR(WriteInstalled(journal_->state_folder(), installed));
  if (own) installed_ = std::move(installed);
  return CleanUp();
}

absl::Status Installer::BeginRollback(const std::string& reason, const std::string& detail) {
  journal_->set_reason(reason);
  journal_->set_detail(detail);
  const absl::Status status = WriteJournal(Journal::PHASE_ROLLING_BACK);
  // Without it a crash may forget to run the apply hook again; not rolling back at all would be worse.
  if (!status.ok()) LogWarning("rolling back without a note of it", {{"error", std::string(status.message())}});
  return absl::OkStatus();
}

absl::Status Installer::SwapBack() {
  switch (WhereIsWhat()) {
    case Place::kOldInstalled:
      return absl::OkStatus();
    case Place::kUnknown:
      return Refuse("TARGET_CHANGED", absl::StrCat("somebody moved ", workplace_->target(), " during an update"));
    case Place::kNewInstalled:
      break;
  }
  const bool exchange = journal_->old_inode() != 0;
  if (renameat2(workplace_->parent(), workplace_->name().c_str(), workplace_->folder(), kTree,
                exchange ? RENAME_EXCHANGE : RENAME_NOREPLACE) != 0) {
    return SwapError(workplace_->target(), errno);
  }
  RETURN_IF_ERROR(SyncFd(workplace_->parent(), workplace_->target()));
  return SyncFd(workplace_->folder(), workplace_->path());
}

absl::Status Installer::FinishRollback() {
  if (const absl::Status status = SwapBack(); !status.ok()) {
    NoteRollback(true);
    return Error(absl::StatusCode::kDataLoss, "ROLLBACK_FAILED",
                 absl::StrCat("the old set of ", workplace_->target(), " is in ", workplace_->path(), "/", kTree,
                              " and could not be brought back: ", status.message()));
  }
  swapped_ = false;
  HookResult again;
  if (journal_->apply_runs() > 0 && !options_.apply.empty()) {
    again = RunHook(options_.apply, Variables(installed_.revision(), installed_.digest()), options_.apply_timeout);
  }
  NoteRollback(!again.status.ok());
  CleanUp().IgnoreError();
  if (again.status.ok()) return absl::OkStatus();
  return Error(absl::StatusCode::kDataLoss, "ROLLBACK_FAILED",
               absl::StrCat("the old set is back in ", workplace_->target(), ", but the apply command failed on it: ",
                            again.status.message(), again.output.empty() ? "" : ": ", again.output));
}

// In the record of the task whose update it was.
void Installer::NoteRollback(bool failed) {
  const bool own = journal_->state_folder() == options_.state_folder;
  Installed others;
  if (!own) ReadRecord(InstalledPath(journal_->state_folder()), &others).IgnoreError();
  Installed& installed = own ? installed_ : others;
  Installed::Rollback* rollback = installed.mutable_rollback();
  rollback->set_revision(journal_->revision());
  rollback->set_attempt(journal_->attempt());
  rollback->set_reason(journal_->reason());
  rollback->set_detail(journal_->detail());
  rollback->set_failed(failed);
  const absl::Status status = WriteInstalled(journal_->state_folder(), installed);
  if (!status.ok()) LogWarning("could not note a rollback", {{"error", std::string(status.message())}});
}

absl::Status Installer::ForgetRollback() {
  if (!installed_.has_rollback()) return absl::OkStatus();
  installed_.clear_rollback();
  return WriteInstalled(options_.state_folder, installed_);
}

// The journal first: without one, what lies in the workplace is only litter.
absl::Status Installer::CleanUp() {
  RETURN_IF_ERROR(RemoveRecord(JournalPath()));
  journal_.reset();
  swapped_ = false;
  const absl::Status status = RemoveTree(workplace_->folder(), kTree, workplace_->path());
  if (!status.ok())
    LogWarning("could not remove a tree that is not needed", {{"error", std::string(status.message())}});
  return absl::OkStatus();
}

absl::Status Installer::WriteJournal(Journal::Phase phase) {
  journal_->set_phase(phase);
  journal_->mutable_phase_time()->set_seconds(absl::ToUnixSeconds(options_.clock->Now()));
  return WriteRecord(JournalPath(), *journal_);
}

absl::Status Installer::WriteInstalled(const std::string& state_folder, const Installed& installed) const {
  return WriteRecord(InstalledPath(state_folder), installed);
}

std::map<std::string, std::string> Installer::Variables(int64_t revision, const std::string& digest) const {
  return {{"PARLEY_TASK", options_.task},
          {"PARLEY_REVISION", absl::StrCat(revision)},
          {"PARLEY_TARGET", workplace_->target()},
          {"PARLEY_DIGEST", HexEncode(digest)}};
}

}  // namespace parley::agent
