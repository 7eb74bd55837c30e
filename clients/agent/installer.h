// Lays a verified set of files over a target, all of it or nothing. One installer for a target, whatever the number of
// tasks that update it.
//
// The new set (the payload, and what stays of the target) is built beside the old one and put in place by one rename,
// or by one for each file (method.h); the old one is kept until Commit, or comes back by FinishRollback. A journal in
// the target's place, written before each step that needs it, lets the next process go on wherever the last one was
// killed, and holds all that it needs for that: docs/protocol/applying.md. A record beside it says which task has
// installed what.
//
// Files of the target that the payload does not name stay. Files that an earlier revision of the same task installed
// and this one does not name go. Links inside the target are never followed, and mounts never crossed.
//
//   ASSIGN_OR_RETURN(Installer installer, Installer::Open(folder, options));
//   if (!installer.pending()) { Check(…); Stage(…); Swap(); }
//   check and apply hooks by RunCheck and RunApply;  then Commit(), or BeginRollback and FinishRollback
//
// Threads: not thread-safe.
#ifndef PARLEY_CLIENTS_AGENT_INSTALLER_H_
#define PARLEY_CLIENTS_AGENT_INSTALLER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "clients/agent/agent_state.pb.h"
#include "clients/agent/boot_clock.h"
#include "clients/agent/hook.h"
#include "clients/agent/hooks.h"
#include "clients/agent/method.h"
#include "clients/agent/swap_method.h"
#include "clients/agent/target_folder.h"
#include "clients/agent/tree.h"
#include "lib/base/clock.h"
#include "parley/task/v1/manifest.pb.h"

namespace parley::agent {

// What an update is decided by without anybody's help. It is kept in the journal.
struct UpdatePlan {
  // "tasks/{task}".
  std::string task;
  int32_t attempt = 0;
  Hooks hooks;
  // The variables PARLEY_LABEL_* and PARLEY_FACT_*, besides those that every command gets.
  std::map<std::string, std::string> variables;
  // How long the update may stay undecided.
  absl::Duration confirm_timeout = absl::Minutes(10);
  // The folder "{state}/tasks/{task}".
  std::string state_folder;
};

class Installer {
 public:
  struct Options {
    TreeLimits limits;
    Method method = Method::kAutomatic;
    Clock* clock = Clock::System();
    // The commands and the time to confirm of an update that an older version left undecided without noting them.
    Hooks hooks;
    absl::Duration confirm_timeout = UpdatePlan().confirm_timeout;
    BootClock* boot_clock = BootClock::System();
    // Folders that must stay the ones that they are, such as that of the agent's state: a target that holds one is
    // never exchanged.
    std::vector<std::string> fixed;
    // Where other programs and their mounts are seen, or empty to take no notice of them, and where the kernel shows
    // its devices.
    std::string proc = "/proc";
    std::string sys = "/sys";
    // Without it the installer works as on a file system that cannot exchange two names.
    bool can_exchange = true;
  };

  // Finishes what was decided: leftovers and a committed update are cleaned up, and a rollback is finished, with
  // another run of its apply hook. A swap that is undecided stays pending, whichever task's it is. `folder` must
  // outlive the installer. Returns STATE_DAMAGED if the journal or the record cannot be read, TARGET_BUSY if a command
  // of the former process does not end, ROLLBACK_FAILED or HOOK_NOT_STARTED if a rollback cannot be finished, TARGET_*
  // if a swap that was cut off cannot be undone, and the errors of lib/base/file.h.
  static absl::StatusOr<Installer> Open(TargetFolder* folder, Options options);

  struct Rollback {
    int64_t revision = 0;
    int32_t attempt = 0;
    std::string reason;
    std::string detail;
    // The old set could not be brought back, or its apply command failed.
    bool failed = false;
    // The trouble is one of the moment, and not the set's.
    bool passing = false;
  };

  // The swapped-in set that is neither committed nor rolled back.
  struct Pending {
    std::string task;
    int64_t revision;
    int32_t attempt;
    std::string digest;
    // Both hooks have passed.
    bool applied;
    // The apply hook was begun more often than a crash excuses.
    bool exhausted;
    // How long the machine has been on, or asleep, since the swap; after another boot see RecordWaiting.
    absl::Duration undecided;
    absl::Duration confirm_timeout;
    // Nothing was in the target before the swap.
    bool nothing_before;
    // It is being rolled back, for this reason, and that could not be finished yet.
    std::optional<Rollback> rollback;
  };
  std::optional<Pending> pending() const;
  // Notes in the journal how long the update has been undecided, so that the time counts after a boot of the machine
  // too; call it at least once a minute while one is pending. A start after a boot counts ten seconds more, so that a
  // machine that never stays up comes to an end as well. Returns the errors of lib/base/file.h.
  absl::Status RecordWaiting();

  // What the record says of a task.
  struct TaskView {
    // The highest revision that was ever committed, and its digest; 0 and empty if there is none.
    int64_t revision = 0;
    std::string digest;
    // The apply command has passed with what is installed.
    bool applied = false;
    std::vector<std::string> paths;
    std::optional<Rollback> rollback;
  };
  TaskView view(const std::string& task) const;

  // What is on the disk of what the task has installed.
  struct OnDisk {
    // The digest of it; empty if nothing is there, or if no apply has passed with it.
    std::string digest;
    // A sentence if another task has installed over it; empty otherwise.
    std::string taken_over;
    // The paths that are missing or not as the task installed them.
    std::vector<std::string> changed_paths;
  };
  // Reads it. Returns the errors of payload::ScanInstalled.
  absl::StatusOr<OnDisk> Read(const std::string& task) const;
  // Returns the digest of what is on the disk of the pending set, or the errors of payload::ScanInstalled.
  absl::StatusOr<std::string> PendingDigest() const;

  // Returns whether nothing is in the target, or it does not exist.
  bool HoldsNothing() const;

  // Checks whether the target can take the set, as far as can be told without trying, and chooses the method for it.
  // Errors: TARGET_* (TARGET_CONFLICT as Stage returns it), DISK_FULL, DISK_READ_ONLY, FILE_PERMISSION.
  absl::Status Check(const std::string& task, const task::v1::Manifest& manifest) const;
  // Return the method that the newest Check or Stage has chosen, and why not another: a sentence, empty if the choice
  // is the ordinary one.
  Method method() const { return choice_; }
  const std::string& method_reason() const { return choice_reason_; }
  // Returns REVISION_OLDER if a later revision is installed, and REVISION_CHANGED if the same one with another digest
  // is.
  absl::Status CheckRevision(const std::string& task, const task::v1::Manifest& manifest) const;

  // Builds the new set, durably, and does not change the target. Errors: TARGET_CONFLICT (a file or link of somebody
  // else's is where the payload needs a folder, or the other way round), FILE_DIGEST (chunks do not make up the file
  // that was signed), those of `read_chunk`, CheckRevision and Check.
  absl::Status Stage(const UpdatePlan& plan, const task::v1::Manifest& manifest, const ReadChunk& read_chunk);
  // Puts the new set in place; pending() says whether it is there, also after an error. Returns TARGET_CHANGED if
  // somebody wrote to the target meanwhile (Stage again), and the other errors of SwapMethod.
  absl::Status Swap();

  // Run one of the user's commands, if there is one. The result says how it ended; RunApply first notes in the journal
  // that it runs, and returns the error if it cannot.
  HookResult RunCheck();
  absl::StatusOr<HookResult> RunApply();

  // Makes the new set the installed one for good. Returns the errors of lib/base/file.h.
  absl::Status Commit();
  // Decides for the old set, durably. `passing` says that the trouble is not the set's. A failure to note it in the
  // journal is only logged.
  absl::Status BeginRollback(const std::string& reason, const std::string& detail, bool passing);
  // Swaps back, and runs the apply hook again if it ran for the new set. The task's view has the rollback until
  // ForgetRollback. Returns ROLLBACK_FAILED if the old set cannot be brought back or its apply hook fails, and
  // HOOK_NOT_STARTED if the hook could not be started. The rollback stays to be finished if the hook could not be
  // started, or if its failure could not be noted.
  absl::Status FinishRollback();
  absl::Status ForgetRollback(const std::string& task);

  // Takes over what the state folder of an older version knows, unless the record knows the task already. From a state
  // that belongs to another target it takes the revision alone. Returns STATE_DAMAGED if a file of the state cannot be
  // read, and the errors of lib/base/file.h.
  absl::Status Adopt(const std::string& task, const std::string& state_folder);

 private:
  Installer(TargetFolder* folder, Options options) : folder_(folder), options_(std::move(options)) {}

  absl::Status Recover();
  absl::Status RecoverPending();
  absl::Status RollBackFormer(const std::string& reason, const std::string& detail);
  absl::Status FinishFormerRollback();
  absl::Status UndoUnfinished();
  absl::Status Choose(const std::string& task, const task::v1::Manifest& manifest,
                      const std::string& state_folder) const;
  absl::Status StageChosen(const UpdatePlan& plan, const task::v1::Manifest& manifest, const ReadChunk& read_chunk);
  std::set<std::string> Dropped(const std::string& task, const task::v1::Manifest& manifest) const;
  NewSet MakeSet(const std::string& task, const task::v1::Manifest& manifest, const ReadChunk* read_chunk) const;
  std::unique_ptr<SwapMethod> MakeMethod(Method method) const;
  void BeginJournal(const UpdatePlan& plan, const task::v1::Manifest& manifest);
  std::set<std::string> Unchanged(const task::v1::Manifest& manifest) const;
  std::vector<std::string> JournalPaths() const;
  Hooks JournalHooks() const;
  absl::Duration Undecided() const;
  HookResult Run(const std::string& command, absl::Duration timeout, int64_t revision, const std::string& digest);
  void RecordHighest() const;
  void RemoveFoldersLeftEmpty() const;
  absl::Status EndFailed(absl::string_view sentence);
  absl::Status RecordUnapplied();
  absl::Status RecordRollback(const absl::Status& failure);
  absl::Status CleanUp();
  absl::Status WriteJournal(Journal::Phase phase);
  absl::Status WriteTargetRecord() const;
  std::string JournalPath() const { return folder_->place_path() + "/journal"; }
  std::string RecordPath() const { return folder_->place_path() + "/record"; }

  TargetFolder* folder_;
  Options options_;
  TargetRecord record_;
  // They are set while a new set is staged or swapped in.
  std::optional<Journal> journal_;
  std::unique_ptr<SwapMethod> method_;
  bool swapped_ = false;
  // What the newest Check has chosen, which changes nothing on the disk.
  mutable Method choice_ = Method::kExchange;
  mutable std::string choice_reason_;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_INSTALLER_H_
