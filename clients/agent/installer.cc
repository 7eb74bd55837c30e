#include "clients/agent/installer.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/agent/exchange_method.h"
#include "clients/agent/file_method.h"
#include "clients/agent/hook_group.h"
#include "clients/agent/new_tree.h"
#include "clients/agent/place.h"
#include "clients/agent/record.h"
#include "clients/agent/target_error.h"
#include "clients/agent/target_record.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/proto_time.h"

namespace parley::agent {
namespace {

// A crash while the apply hook runs is given one more try; a hook that kills the agent each time is not.
constexpr int kMaxApplyRuns = 2;
// What a start after a boot counts of the time that an update may stay undecided.
constexpr absl::Duration kPerBoot = absl::Seconds(10);

absl::Status RollbackFailed(absl::string_view sentence) {
  return Error(absl::StatusCode::kDataLoss, "ROLLBACK_FAILED", sentence);
}

void WarnUnless(const absl::Status& status, absl::string_view sentence) {
  if (!status.ok()) LogWarning(sentence, {{"error", std::string(status.message())}});
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
  WarnUnless(Adopt(journal_->task(), journal_->state_folder()), "could not read what a task had installed before");
  if (journal_->has_hook()) RETURN_IF_ERROR(EndGroup(journal_->hook(), options_.boot_clock->BootId()));
  journal_->clear_hook();
  switch (journal_->phase()) {
    case Journal::PHASE_COMMITTED:
      return Commit();
    case Journal::PHASE_ROLLING_BACK:
      return FinishFormerRollback();
    default:
      return RecoverPending();
  }
}

std::unique_ptr<SwapMethod> Installer::MakeMethod(Method method) const {
  if (method == Method::kFiles) return std::make_unique<FileMethod>(folder_, options_.proc, options_.can_exchange);
  return std::make_unique<ExchangeMethod>(folder_, options_.limits, options_.proc, options_.sys);
}

absl::Status Installer::RecoverPending() {
  const SwapMethod::Place place = method_->WhereIsWhat(*journal_);
  if (place == SwapMethod::Place::kUnknown) {
    // Perhaps a command of the set's has done it.
    return RollBackFormer("target_changed",
                          absl::StrCat("somebody removed or replaced ", folder_->target(), " during the update"));
  }
  if (place != SwapMethod::Place::kNewInstalled) {
    // It was being taken back, of which no note could be made. A program may still have the new set.
    if (journal_->apply_runs() > 0) return RollBackFormer("interrupted", "the agent was cut off during a rollback");
    if (place == SwapMethod::Place::kBetween) RETURN_IF_ERROR(method_->SwapBack(*journal_));
    return CleanUp();
  }
  if (journal_->phase() == Journal::PHASE_STAGED && !method_->CheckSwapped(*journal_).ok()) {
    // The process was killed before it could look. Only the check command may have seen the new set.
    RETURN_IF_ERROR(method_->SwapBack(*journal_));
    return CleanUp();
  }
  swapped_ = true;
  if (journal_->waiting().boot_id() == options_.boot_clock->BootId()) return absl::OkStatus();
  const absl::Duration waited = ToDuration(journal_->waiting().waited()) + kPerBoot;
  *journal_->mutable_waiting()->mutable_waited() = ToProto(waited);
  *journal_->mutable_waiting()->mutable_since() = ToProto(options_.boot_clock->Uptime());
  journal_->mutable_waiting()->set_boot_id(options_.boot_clock->BootId());
  // A full disk, say, must not keep the update from being settled.
  WarnUnless(WriteJournal(journal_->phase()), "could not note how long an update waits");
  return absl::OkStatus();
}

// The set may be to blame for it, so that it is not tried again by itself.
absl::Status Installer::RollBackFormer(const std::string& reason, const std::string& detail) {
  RETURN_IF_ERROR(BeginRollback(reason, detail, /*passing=*/false));
  return FinishFormerRollback();
}

absl::Status Installer::FinishFormerRollback() {
  const absl::Status status = FinishRollback();
  // The old set is back; what its hook said is in the record.
  return journal_.has_value() ? status : absl::OkStatus();
}

absl::Duration Installer::Undecided() const {
  const Journal::Waiting& waiting = journal_->waiting();
  const absl::Duration since = options_.boot_clock->Uptime() - ToDuration(waiting.since());
  return ToDuration(waiting.waited()) + std::max(since, absl::ZeroDuration());
}

std::optional<Installer::Pending> Installer::pending() const {
  if (!swapped_ || !journal_.has_value()) return std::nullopt;
  Pending pending{.task = journal_->task(),
                  .revision = journal_->revision(),
                  .attempt = journal_->attempt(),
                  .digest = journal_->digest(),
                  .applied = journal_->phase() == Journal::PHASE_APPLIED,
                  .exhausted = journal_->phase() == Journal::PHASE_APPLYING && journal_->apply_runs() >= kMaxApplyRuns,
                  .undecided = Undecided(),
                  .confirm_timeout =
                      journal_->has_plan() ? ToDuration(journal_->plan().confirm_timeout()) : options_.confirm_timeout,
                  .nothing_before = journal_->nothing_before()};
  if (journal_->phase() == Journal::PHASE_ROLLING_BACK) {
    pending.rollback = {journal_->revision(), journal_->attempt(), journal_->reason(), journal_->detail(),
                        /*failed=*/false,     journal_->passing()};
  }
  return pending;
}

absl::Status Installer::RecordWaiting() {
  if (!swapped_ || !journal_.has_value()) return absl::OkStatus();
  const absl::Duration undecided = Undecided();
  *journal_->mutable_waiting()->mutable_waited() = ToProto(undecided);
  *journal_->mutable_waiting()->mutable_since() = ToProto(options_.boot_clock->Uptime());
  return WriteJournal(journal_->phase());
}

absl::Status Installer::Swap() {
  *journal_->mutable_waiting()->mutable_since() = ToProto(options_.boot_clock->Uptime());
  journal_->mutable_waiting()->set_boot_id(options_.boot_clock->BootId());
  absl::Status status = WriteJournal(Journal::PHASE_STAGED);
  if (status.ok()) status = method_->Swap(*journal_);
  swapped_ = method_->WhereIsWhat(*journal_) == SwapMethod::Place::kNewInstalled;
  if (Reason(status) == "TARGET_CHANGED") folder_->set_changes(folder_->changes() + 1);
  if (status.ok()) folder_->set_changes(0);
  // No command has seen what was swapped in over something else than was looked at.
  if (status.ok() || (swapped_ && Reason(status) != "TARGET_CHANGED")) return status;
  // The journal stays when the old set could not be brought back: the next process tries again.
  RETURN_IF_ERROR(method_->SwapBack(*journal_));
  swapped_ = false;
  CleanUp().IgnoreError();
  return status;
}

// What an earlier call could not undo still holds the only copy of the old set.
absl::Status Installer::UndoUnfinished() {
  if (!journal_.has_value()) return absl::OkStatus();
  if (swapped_) {
    return Refuse("TARGET_IN_USE",
                  absl::StrCat("an update of ", folder_->target(), " by ", journal_->task(), " is not decided yet"));
  }
  if (journal_->phase() == Journal::PHASE_ROLLING_BACK) return FinishRollback();
  RETURN_IF_ERROR(method_->SwapBack(*journal_));
  return CleanUp();
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
  const auto started = [this](pid_t group) {
    *journal_->mutable_hook() = DescribeGroup(group, options_.boot_clock->BootId());
    WarnUnless(WriteJournal(journal_->phase()), "a command runs without a note of it");
    return absl::OkStatus();
  };
  HookResult result = RunHook({.command = command,
                               .variables = std::move(variables),
                               .timeout = timeout,
                               .folder = folder_->root_path(),
                               .started = started});
  journal_->clear_hook();
  return result;
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
    RETURN_IF_ERROR(RecordUnapplied());
    result = Run(hooks.apply, hooks.apply_timeout, journal_->revision(), journal_->digest());
  }
  if (result.status.ok()) RETURN_IF_ERROR(WriteJournal(Journal::PHASE_APPLIED));
  return result;
}

absl::Status Installer::Commit() {
  if (journal_->phase() != Journal::PHASE_COMMITTED) RETURN_IF_ERROR(WriteJournal(Journal::PHASE_COMMITTED));
  // An older version's: which file came to which digest was not recorded.
  for (const std::string& path : journal_->paths()) journal_->add_files()->set_path(path);
  journal_->clear_paths();
  RemoveFoldersLeftEmpty();
  RecordInstalled(*journal_, &record_);
  RETURN_IF_ERROR(WriteTargetRecord());
  RecordHighest();
  return CleanUp();
}

// What keeps the task from going back when its target is another one.
void Installer::RecordHighest() const {
  if (journal_->state_folder().empty()) return;
  Installed highest;
  highest.set_revision(journal_->revision());
  highest.set_digest(journal_->digest());
  for (const InstalledFile& file : journal_->files()) highest.add_paths(file.path());
  WarnUnless(WriteRecord(absl::StrCat(journal_->state_folder(), "/installed"), highest),
             "could not note a revision in its state");
}

// An exchanged tree does not have them.
void Installer::RemoveFoldersLeftEmpty() const {
  const Fd root = folder_->OpenRoot();
  if (!root.ok() || journal_->method() != Journal::METHOD_FILES) return;
  std::set<std::string> gone;
  for (const Journal::FileStep& step : journal_->steps()) {
    if (step.new_inode() == 0) gone.insert(step.path());
  }
  RemoveEmptyFolders(root.get(), gone, JournalPaths());
}

absl::Status Installer::BeginRollback(const std::string& reason, const std::string& detail, bool passing) {
  // One that was begun before, and could not be finished, keeps its reason.
  if (journal_->phase() != Journal::PHASE_ROLLING_BACK) {
    journal_->set_reason(reason);
    journal_->set_detail(detail);
    journal_->set_passing(passing);
  }
  // Without it a crash may forget to run the apply hook again; not rolling back at all would be worse.
  WarnUnless(WriteJournal(Journal::PHASE_ROLLING_BACK), "rolling back without a note of it");
  return absl::OkStatus();
}

// Ends a rollback for good that did not bring the old set back.
absl::Status Installer::EndFailed(absl::string_view sentence) {
  const absl::Status failed = RollbackFailed(sentence);
  const absl::Status noted = RecordRollback(failed);
  WarnUnless(noted, "could not note a rollback");
  // Otherwise the journal tells the next process.
  if (noted.ok()) CleanUp().IgnoreError();
  swapped_ = false;
  return failed;
}

absl::Status Installer::FinishRollback() {
  const absl::Status status = method_->SwapBack(*journal_);
  // Another try would not find it either.
  if (Reason(status) == "OLD_SET_LOST") return EndFailed(status.message());
  if (!status.ok()) {
    const absl::Status failed =
        RollbackFailed(absl::StrCat("the old set of ", folder_->target(), " is in ", method_->OldSetPath(),
                                    " and could not be brought back: ", status.message()));
    RecordRollback(failed).IgnoreError();
    return failed;
  }
  if (!folder_->IsParentCurrent()) {
    return EndFailed(absl::StrCat("the old set is back in the folder that ", folder_->target(),
                                  " was, and somebody, perhaps a command, moved the folder above it during the ",
                                  "update; put that back where it was"));
  }
  const Hooks hooks = JournalHooks();
  const TaskView old = view(journal_->task());
  HookResult again;
  if (journal_->apply_runs() > 0 && !hooks.apply.empty() && !journal_->nothing_before()) {
    again = Run(hooks.apply, hooks.apply_timeout, old.revision, old.digest);
    if (again.status.ok() && old.revision > 0) TaskIn(&record_, journal_->task())->set_applied(true);
  }
  if (Reason(again.status) == "HOOK_NOT_STARTED") {
    // The journal stays, and with it what is left to do.
    return Error(absl::StatusCode::kUnavailable, "HOOK_NOT_STARTED",
                 absl::StrCat("the old set is back in ", folder_->target(),
                              ", but the apply command has not run with it yet: ", again.status.message()));
  }
  absl::Status failed;
  if (!again.status.ok()) {
    failed = RollbackFailed(absl::StrCat("the old set is back in ", folder_->target(),
                                         ", but the apply command failed on it: ", again.status.message(),
                                         again.output.empty() ? "" : ": ", again.output));
  }
  const absl::Status noted = RecordRollback(failed);
  WarnUnless(noted, "could not note a rollback");
  // Without a note only the journal says that the program may not work with the old set. It is tried again.
  if (!failed.ok() && !noted.ok()) return failed;
  swapped_ = false;
  CleanUp().IgnoreError();
  return failed;
}

// Once a program may have the new set, only the next run of the command says whether it works with the old one. It is
// noted while there is room for it: the disk may be full when that run fails.
absl::Status Installer::RecordUnapplied() {
  if (journal_->nothing_before() || !view(journal_->task()).applied) return absl::OkStatus();
  TaskIn(&record_, journal_->task())->set_applied(false);
  return WriteTargetRecord();
}

absl::Status Installer::RecordRollback(const absl::Status& failure) {
  TargetRecord::Task* const task = TaskIn(&record_, journal_->task());
  if (!failure.ok()) task->set_applied(false);
  Installed::Rollback* const rollback = task->mutable_rollback();
  rollback->set_revision(journal_->revision());
  rollback->set_attempt(journal_->attempt());
  rollback->set_reason(journal_->reason());
  rollback->set_detail(journal_->detail());
  rollback->set_failed(!failure.ok());
  rollback->set_failure(std::string(failure.message()));
  rollback->set_passing(journal_->passing());
  return WriteTargetRecord();
}

absl::Status Installer::ForgetRollback(const std::string& task) {
  const TargetRecord::Task* const known = FindTask(record_, task);
  if (known == nullptr || !known->has_rollback()) return absl::OkStatus();
  TaskIn(&record_, task)->clear_rollback();
  return WriteTargetRecord();
}

// The journal first: without one, what lies in the place is only litter.
absl::Status Installer::CleanUp() {
  // In the place that is held, whatever its path leads to by now.
  if (unlinkat(folder_->place(), "journal", 0) != 0 && errno != ENOENT) {
    return FileError("remove", JournalPath(), errno);
  }
  folder_->ShowUndecided(false);
  if (fsync(folder_->place()) != 0) return FileError("write", folder_->place_path(), errno);
  journal_.reset();
  method_.reset();
  swapped_ = false;
  ClearPlace(*folder_, options_.proc);
  return absl::OkStatus();
}

absl::Status Installer::WriteJournal(Journal::Phase phase) {
  journal_->set_phase(phase);
  journal_->mutable_phase_time()->set_seconds(absl::ToUnixSeconds(options_.clock->Now()));
  RETURN_IF_ERROR(folder_->EnsurePlace());
  folder_->ShowUndecided(true);
  return WriteRecord(JournalPath(), *journal_);
}

absl::Status Installer::WriteTargetRecord() const {
  RETURN_IF_ERROR(folder_->EnsurePlace());
  for (const TargetRecord::Task& task : record_.tasks()) {
    if (task.revision() > 0 || task.has_rollback()) return WriteRecord(RecordPath(), record_);
  }
  return RemoveRecord(RecordPath());
}

}  // namespace parley::agent
