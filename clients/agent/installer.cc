#include "clients/agent/installer.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/agent/exchange_method.h"
#include "clients/agent/on_disk.h"
#include "clients/agent/record.h"
#include "clients/agent/target_record.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/secret.h"
#include "lib/payload/fileset.h"

namespace parley::agent {
namespace {

using payload::Fd;

// A crash while the apply hook runs is given one more try; a hook that kills the agent each time is not.
constexpr int kMaxApplyRuns = 2;
// What a start after a boot counts of the time that an update may stay undecided.
constexpr absl::Duration kPerBoot = absl::Seconds(10);

absl::Status Refuse(absl::string_view reason, absl::string_view sentence) {
  return Error(absl::StatusCode::kFailedPrecondition, reason, sentence);
}

std::string InstalledPath(const std::string& state_folder) { return absl::StrCat(state_folder, "/installed"); }

void SetDuration(absl::Duration from, google::protobuf::Duration* to) {
  const int64_t seconds = absl::IDivDuration(from, absl::Seconds(1), &from);
  to->set_seconds(seconds);
  to->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(from)));
}

absl::Duration ToDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

bool SameEntry(const task::v1::FileEntry& a, const task::v1::FileEntry& b) {
  return a.type() == b.type() && a.mode() == b.mode() && a.size() == b.size() && a.sha256() == b.sha256() &&
         a.link_target() == b.link_target();
}

}  // namespace

absl::StatusOr<Installer> Installer::Open(TargetFolder* folder, Options options) {
  Installer installer(folder, std::move(options));
  RemoveRecordLitter(installer.JournalPath());
  RemoveRecordLitter(installer.RecordPath());
  RETURN_IF_ERROR(ReadRecord(installer.RecordPath(), &installer.record_).status());
  RETURN_IF_ERROR(installer.Recover());
  return installer;
}

absl::Status Installer::Recover() {
  Journal journal;
  ASSIGN_OR_RETURN(const bool found, ReadRecord(JournalPath(), &journal));
  if (!found) return CleanUp();
  journal_ = std::move(journal);
  method_ = MakeMethod(journal_->method() == Journal::METHOD_FILES ? Method::kFiles : Method::kExchange);
  if (const absl::Status adopted = Adopt(journal_->task(), journal_->state_folder()); !adopted.ok()) {
    LogWarning("could not read what a task had installed before", {{"error", std::string(adopted.message())}});
  }
  switch (journal_->phase()) {
    case Journal::PHASE_COMMITTED:
      return Commit();
    case Journal::PHASE_ROLLING_BACK:
      break;
    default:
      return GoOnPending();
  }
  const absl::Status status = FinishRollback();
  // The old set is back; what its hook said is in the record.
  return journal_.has_value() ? status : absl::OkStatus();
}

absl::Status Installer::GoOnPending() {
  switch (method_->WhereIsWhat(*journal_)) {
    case SwapMethod::Place::kOldInstalled:
      return CleanUp();
    case SwapMethod::Place::kBetween:
      // No command has seen any of it.
      RETURN_IF_ERROR(method_->SwapBack(*journal_));
      return CleanUp();
    case SwapMethod::Place::kUnknown:
      return Refuse("TARGET_CHANGED", absl::StrCat("somebody moved ", folder_->target(), " during an update; its old ",
                                                   "set is in ", method_->OldSetPath(), ": move it back, or remove ",
                                                   folder_->place_path()));
    case SwapMethod::Place::kNewInstalled:
      break;
  }
  swapped_ = true;
  if (journal_->waiting().boot_id() == options_.boot_clock->BootId()) return absl::OkStatus();
  const absl::Duration waited = ToDuration(journal_->waiting().waited()) + kPerBoot;
  SetDuration(waited, journal_->mutable_waiting()->mutable_waited());
  SetDuration(options_.boot_clock->Uptime(), journal_->mutable_waiting()->mutable_since());
  journal_->mutable_waiting()->set_boot_id(options_.boot_clock->BootId());
  return WriteJournal(journal_->phase());
}

absl::Duration Installer::Undecided() const {
  const Journal::Waiting& waiting = journal_->waiting();
  const absl::Duration since = options_.boot_clock->Uptime() - ToDuration(waiting.since());
  return ToDuration(waiting.waited()) + std::max(since, absl::ZeroDuration());
}

std::optional<Installer::Pending> Installer::pending() const {
  if (!swapped_ || !journal_.has_value()) return std::nullopt;
  return Pending{.task = journal_->task(),
                 .revision = journal_->revision(),
                 .attempt = journal_->attempt(),
                 .digest = journal_->digest(),
                 .applied = journal_->phase() == Journal::PHASE_APPLIED,
                 .exhausted = journal_->phase() == Journal::PHASE_APPLYING && journal_->apply_runs() >= kMaxApplyRuns,
                 .undecided = Undecided(),
                 .confirm_timeout = journal_->has_plan() ? ToDuration(journal_->plan().confirm_timeout())
                                                         : UpdatePlan().confirm_timeout};
}

absl::Status Installer::NoteWaiting() {
  if (!swapped_ || !journal_.has_value()) return absl::OkStatus();
  const absl::Duration undecided = Undecided();
  SetDuration(undecided, journal_->mutable_waiting()->mutable_waited());
  SetDuration(options_.boot_clock->Uptime(), journal_->mutable_waiting()->mutable_since());
  return WriteJournal(journal_->phase());
}

Installer::TaskView Installer::view(const std::string& task) const {
  TaskView view;
  const TargetRecord::Task* const known = FindTask(record_, task);
  if (known == nullptr) return view;
  view.revision = known->revision();
  view.digest = known->digest();
  view.applied = known->applied();
  for (const InstalledFile& file : known->files()) view.paths.push_back(file.path());
  if (known->has_rollback()) {
    const Installed::Rollback& note = known->rollback();
    view.rollback = {note.revision(), note.attempt(), note.reason(), note.detail(), note.failed(), note.passing()};
  }
  return view;
}

absl::StatusOr<Installer::OnDisk> Installer::Read(const std::string& task) const {
  OnDisk on_disk;
  const TargetRecord::Task* const known = FindTask(record_, task);
  if (known == nullptr) return on_disk;
  std::set<std::string> changed;
  payload::Files present;
  for (const InstalledFile& file : known->files()) {
    ASSIGN_OR_RETURN(payload::Files found, ScanOnDisk(*folder_, file.path()));
    if (found.empty() || (!file.digest().empty() && payload::DigestFiles(found) != file.digest())) {
      changed.insert(file.path());
    }
    present.MergeFrom(found);
  }
  if (!present.empty() && known->applied()) on_disk.digest = payload::DigestFiles(present);
  on_disk.taken_over = TakenOver(record_, task, changed);
  on_disk.changed_paths.assign(changed.begin(), changed.end());
  return on_disk;
}

std::vector<std::string> Installer::JournalPaths() const {
  std::vector<std::string> paths(journal_->paths().begin(), journal_->paths().end());
  for (const InstalledFile& file : journal_->files()) paths.push_back(file.path());
  return paths;
}

absl::StatusOr<std::string> Installer::PendingDigest() const { return DigestOf(JournalPaths()); }

absl::StatusOr<std::string> Installer::DigestOf(const std::vector<std::string>& paths) const {
  payload::Files present;
  for (const std::string& path : paths) {
    ASSIGN_OR_RETURN(const payload::Files found, ScanOnDisk(*folder_, path));
    present.MergeFrom(found);
  }
  return present.empty() ? std::string() : payload::DigestFiles(present);
}

absl::Status Installer::CheckRevision(const std::string& task, const task::v1::Manifest& manifest) const {
  const TaskView installed = view(task);
  if (manifest.revision() < installed.revision) {
    return Refuse("REVISION_OLDER",
                  absl::StrCat("revision ", manifest.revision(), " of ", task, " is older than revision ",
                               installed.revision, ", which is installed; a task never goes back"));
  }
  if (manifest.revision() == installed.revision && manifest.digest() != installed.digest) {
    return Refuse("REVISION_CHANGED", absl::StrCat("revision ", manifest.revision(), " of ", task,
                                                   " has other files than when it was installed here"));
  }
  return absl::OkStatus();
}

absl::Status Installer::Check(const std::string& task, const task::v1::Manifest& manifest) const {
  struct statvfs space;
  if (fstatvfs(folder_->place(), &space) != 0) return FileError("read", folder_->place_path(), errno);
  if ((space.f_flag & ST_RDONLY) != 0) return FileError("update", folder_->target(), EROFS);
  if (space.f_bavail < static_cast<uint64_t>(manifest.size()) / std::max<uint64_t>(space.f_frsize, 1)) {
    return FileError("update", folder_->target(), ENOSPC);
  }
  return Choose(task, manifest);
}

absl::Status Installer::Choose(const std::string& task, const task::v1::Manifest& manifest) const {
  const Fd target = folder_->OpenRoot();
  if (!target.ok() && errno == ENOENT) return absl::OkStatus();
  if (faccessat(folder_->parent(), folder_->name().c_str(), R_OK | W_OK | X_OK, AT_EACCESS) != 0) {
    return Error(absl::StatusCode::kPermissionDenied, "TARGET_PERMISSION",
                 absl::StrCat("no permission to update ", folder_->target(), ": ", ErrnoText(errno),
                              "; run as a user who may write there"));
  }
  if (!target.ok()) return FileError("read", folder_->target(), errno);
  return Fingerprint(target.get(), folder_->target(), options_.limits).status();
}

std::unique_ptr<SwapMethod> Installer::MakeMethod(Method method) const {
  return std::make_unique<ExchangeMethod>(folder_, options_.limits);
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
  Journal::Plan* const kept = journal_->mutable_plan();
  kept->set_check(plan.hooks.check);
  kept->set_apply(plan.hooks.apply);
  SetDuration(plan.hooks.check_timeout, kept->mutable_check_timeout());
  SetDuration(plan.hooks.apply_timeout, kept->mutable_apply_timeout());
  SetDuration(plan.confirm_timeout, kept->mutable_confirm_timeout());
  kept->mutable_variables()->insert(plan.variables.begin(), plan.variables.end());
}

absl::Status Installer::Stage(const UpdatePlan& plan, const task::v1::Manifest& manifest,
                              const ReadChunk& read_chunk) {
  RETURN_IF_ERROR(CheckRevision(plan.task, manifest));
  RETURN_IF_ERROR(Choose(plan.task, manifest));
  BeginJournal(plan, manifest);
  method_ = MakeMethod(choice_);
  NewSet set{.manifest = &manifest, .read_chunk = &read_chunk, .unchanged = Unchanged(manifest), .dropped = {}};
  if (folder_->kind() == TargetFolder::Kind::kFolder) {
    set.dropped = DroppedPaths(record_, plan.task, manifest.supersedes(), journal_->files());
  }
  absl::Status status = method_->Stage(set, &*journal_);
  if (status.ok()) status = WriteJournal(Journal::PHASE_STAGED);
  if (!status.ok()) CleanUp().IgnoreError();
  return status;
}

absl::Status Installer::Swap() {
  SetDuration(options_.boot_clock->Uptime(), journal_->mutable_waiting()->mutable_since());
  journal_->mutable_waiting()->set_boot_id(options_.boot_clock->BootId());
  absl::Status status = WriteJournal(Journal::PHASE_STAGED);
  if (status.ok()) status = method_->Swap(*journal_);
  swapped_ = method_->WhereIsWhat(*journal_) == SwapMethod::Place::kNewInstalled;
  if (status.ok() || swapped_) return status;
  // The journal stays when the old set could not be brought back: the next process tries again.
  RETURN_IF_ERROR(method_->SwapBack(*journal_));
  CleanUp().IgnoreError();
  return status;
}

Hooks Installer::JournalHooks() const {
  if (!journal_->has_plan()) return options_.hooks;
  const Journal::Plan& plan = journal_->plan();
  return {.check = plan.check(),
          .apply = plan.apply(),
          .check_timeout = ToDuration(plan.check_timeout()),
          .apply_timeout = ToDuration(plan.apply_timeout())};
}

HookResult Installer::Run(const std::string& command, absl::Duration timeout, int64_t revision,
                          const std::string& digest) {
  std::map<std::string, std::string> variables(journal_->plan().variables().begin(),
                                               journal_->plan().variables().end());
  variables["PARLEY_TASK"] = journal_->task();
  variables["PARLEY_REVISION"] = absl::StrCat(revision);
  variables["PARLEY_TARGET"] = folder_->target();
  variables["PARLEY_DIGEST"] = HexEncode(digest);
  return RunHook(command, variables, timeout);
}

HookResult Installer::RunCheck() {
  const Hooks hooks = JournalHooks();
  if (hooks.check.empty()) return HookResult();
  return Run(hooks.check, hooks.check_timeout, journal_->revision(), journal_->digest());
}

absl::StatusOr<HookResult> Installer::RunApply() {
  const Hooks hooks = JournalHooks();
  HookResult result;
  if (!hooks.apply.empty()) {
    journal_->set_apply_runs(journal_->apply_runs() + 1);
    RETURN_IF_ERROR(WriteJournal(Journal::PHASE_APPLYING));
    result = Run(hooks.apply, hooks.apply_timeout, journal_->revision(), journal_->digest());
  }
  if (result.status.ok()) RETURN_IF_ERROR(WriteJournal(Journal::PHASE_APPLIED));
  return result;
}

absl::Status Installer::Commit() {
  if (journal_->phase() != Journal::PHASE_COMMITTED) RETURN_IF_ERROR(WriteJournal(Journal::PHASE_COMMITTED));
  // An older version's: which file came to which digest was not noted.
  for (const std::string& path : journal_->paths()) journal_->add_files()->set_path(path);
  journal_->clear_paths();
  NoteInstalled(*journal_, &record_);
  RETURN_IF_ERROR(WriteTargetRecord());
  Installed highest;
  highest.set_revision(journal_->revision());
  highest.set_digest(journal_->digest());
  for (const InstalledFile& file : journal_->files()) highest.add_paths(file.path());
  const absl::Status noted = WriteRecord(InstalledPath(journal_->state_folder()), highest);
  if (!noted.ok()) LogWarning("could not note a revision in its state", {{"error", std::string(noted.message())}});
  return CleanUp();
}

absl::Status Installer::BeginRollback(const std::string& reason, const std::string& detail, bool passing) {
  journal_->set_reason(reason);
  journal_->set_detail(detail);
  journal_->set_passing(passing);
  const absl::Status status = WriteJournal(Journal::PHASE_ROLLING_BACK);
  // Without it a crash may forget to run the apply hook again; not rolling back at all would be worse.
  if (!status.ok()) LogWarning("rolling back without a note of it", {{"error", std::string(status.message())}});
  return absl::OkStatus();
}

absl::Status Installer::FinishRollback() {
  if (const absl::Status status = method_->SwapBack(*journal_); !status.ok()) {
    NoteRollback(true).IgnoreError();
    return Error(absl::StatusCode::kDataLoss, "ROLLBACK_FAILED",
                 absl::StrCat("the old set of ", folder_->target(), " is in ", method_->OldSetPath(),
                              " and could not be brought back: ", status.message()));
  }
  swapped_ = false;
  const Hooks hooks = JournalHooks();
  const TaskView old = view(journal_->task());
  HookResult again;
  if (journal_->apply_runs() > 0 && !hooks.apply.empty() && !journal_->nothing_before()) {
    again = Run(hooks.apply, hooks.apply_timeout, old.revision, old.digest);
  }
  const absl::Status noted = NoteRollback(!again.status.ok());
  if (!noted.ok()) LogWarning("could not note a rollback", {{"error", std::string(noted.message())}});
  CleanUp().IgnoreError();
  if (again.status.ok()) return absl::OkStatus();
  return Error(absl::StatusCode::kDataLoss, "ROLLBACK_FAILED",
               absl::StrCat("the old set is back in ", folder_->target(), ", but the apply command failed on it: ",
                            again.status.message(), again.output.empty() ? "" : ": ", again.output));
}

absl::Status Installer::NoteRollback(bool failed) {
  TargetRecord::Task* const task = TaskIn(&record_, journal_->task());
  if (failed) task->set_applied(false);
  Installed::Rollback* const rollback = task->mutable_rollback();
  rollback->set_revision(journal_->revision());
  rollback->set_attempt(journal_->attempt());
  rollback->set_reason(journal_->reason());
  rollback->set_detail(journal_->detail());
  rollback->set_failed(failed);
  rollback->set_passing(journal_->passing());
  return WriteTargetRecord();
}

absl::Status Installer::ForgetRollback(const std::string& task) {
  const TargetRecord::Task* const known = FindTask(record_, task);
  if (known == nullptr || !known->has_rollback()) return absl::OkStatus();
  TaskIn(&record_, task)->clear_rollback();
  return WriteTargetRecord();
}

absl::Status Installer::Adopt(const std::string& task, const std::string& state_folder) {
  if (FindTask(record_, task) != nullptr) return absl::OkStatus();
  Installed installed;
  RemoveRecordLitter(InstalledPath(state_folder));
  ASSIGN_OR_RETURN(const bool found, ReadRecord(InstalledPath(state_folder), &installed));
  if (!found) return absl::OkStatus();
  Membership membership;
  ASSIGN_OR_RETURN(const bool joined, ReadRecord(absl::StrCat(state_folder, "/membership"), &membership));
  NoteAdopted(task, installed, !joined || membership.target().empty() || membership.target() == folder_->target(),
              &record_);
  WipeString(membership.mutable_secret());
  return record_.tasks_size() == 0 ? absl::OkStatus() : WriteTargetRecord();
}

// The journal first: without one, what lies in the place is only litter.
absl::Status Installer::CleanUp() {
  RETURN_IF_ERROR(RemoveRecord(JournalPath()));
  journal_.reset();
  method_.reset();
  swapped_ = false;
  const absl::Status status = MakeMethod(Method::kExchange)->Discard();
  if (!status.ok())
    LogWarning("could not remove a tree that is not needed", {{"error", std::string(status.message())}});
  return absl::OkStatus();
}

absl::Status Installer::WriteJournal(Journal::Phase phase) {
  journal_->set_phase(phase);
  journal_->mutable_phase_time()->set_seconds(absl::ToUnixSeconds(options_.clock->Now()));
  return WriteRecord(JournalPath(), *journal_);
}

absl::Status Installer::WriteTargetRecord() const {
  for (const TargetRecord::Task& task : record_.tasks()) {
    if (task.revision() > 0 || task.has_rollback()) return WriteRecord(RecordPath(), record_);
  }
  return RemoveRecord(RecordPath());
}

}  // namespace parley::agent
