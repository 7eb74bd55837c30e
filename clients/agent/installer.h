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
// Threads: none; one call at a time.
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

// What settles an update without anybody else's help; kept in the journal.
struct UpdatePlan {
  // "tasks/{task}".
  std::string task;
  int32_t attempt = 0;
  Hooks hooks;
  // Besides those that every command gets: PARLEY_LABEL_*, PARLEY_FACT_*.
  std::map<std::string, std::string> variables;
  // How long the update may stay undecided.
  absl::Duration confirm_timeout = absl::Minutes(10);
  // {state}/tasks/{task}.
  std::string state_folder;
};

class Installer {
 public:
  struct Options {
    TreeLimits limits;
    Method method = Method::kAutomatic;
    Clock* clock = Clock::System();
    // For an update that an older version left undecided, which noted neither its commands nor its time to confirm.
    Hooks hooks;
    absl::Duration confirm_timeout = UpdatePlan().confirm_timeout;
    BootClock* boot_clock = BootClock::System();
    // Folders that must stay the ones that they are, such as that of the agent's state: a target that holds one is
    // never exchanged.
    std::vector<std::string> fixed;
    // Where other programs and their mounts are seen; empty to take no notice of them. And where the kernel shows its
    // devices.
    std::string proc = "/proc";
    std::string sys = "/sys";
    // False: as on a file system that cannot exchange two names.
    bool can_exchange = true;
  };

  // Finishes what was decided: leftovers and a committed update are cleaned up, a rollback is finished (its apply hook
  // run again). A swap that is undecided stays pending, whichever task's it is. `folder` must outlive the installer.
  // TARGET_CHANGED when somebody else moved the folders; STATE_DAMAGED.
  static absl::StatusOr<Installer> Open(TargetFolder* folder, Options options);

  struct Rollback {
    int64_t revision = 0;
    int32_t attempt = 0;
    std::string reason;
    std::string detail;
    // The old set could not be brought back, or its apply command failed.
    bool failed = false;
    // A trouble of the moment, and none of the set's.
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
    // It is being rolled back, for this reason, and that could not be finished yet.
    std::optional<Rollback> rollback;
  };
  std::optional<Pending> pending() const;
  // Notes in the journal how long the update has been undecided, so that the time counts after a boot of the machine
  // too; call it at least once a minute while one is pending. A start after a boot counts ten seconds more, so that a
  // machine that never stays up comes to an end as well.
  absl::Status RecordWaiting();

  // What the record says of a task.
  struct TaskView {
    // Highest revision ever committed, and its digest; 0 and empty when none.
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
    // Empty when nothing is, or when no apply has passed with it.
    std::string digest;
    // A sentence when another task has installed over it.
    std::string taken_over;
    // Paths that are missing or not as the task installed them.
    std::vector<std::string> changed_paths;
  };
  absl::StatusOr<OnDisk> Read(const std::string& task) const;
  // Digest of what is on disk of the pending set.
  absl::StatusOr<std::string> PendingDigest() const;

  // Whether the target can take the set, as far as can be told without trying: TARGET_*, DISK_FULL, FILE_PERMISSION.
  // Chooses the method for it.
  absl::Status Check(const std::string& task, const task::v1::Manifest& manifest) const;
  // The method that the newest Check or Stage has chosen, and why not another: a sentence, empty when the choice is the
  // ordinary one.
  Method method() const { return choice_; }
  const std::string& method_reason() const { return choice_reason_; }
  // REVISION_OLDER, REVISION_CHANGED (another digest under the same number).
  absl::Status CheckRevision(const std::string& task, const task::v1::Manifest& manifest) const;

  // Builds the new set, durably. The target has not changed, whatever comes back. TARGET_CONFLICT (a file or link of
  // somebody else's where the payload needs a folder, or the other way round), FILE_DIGEST, and those of Check.
  absl::Status Stage(const UpdatePlan& plan, const task::v1::Manifest& manifest, const ReadChunk& read_chunk);
  // Puts it in place. TARGET_CHANGED when somebody wrote to the target meanwhile: Stage again.
  absl::Status Swap();

  // One of the user's commands; OK at once when there is none. RunApply notes that it ran before it starts it.
  HookResult RunCheck();
  absl::StatusOr<HookResult> RunApply();

  // The new set is the installed one for good.
  absl::Status Commit();
  // Decides for the old set, durably. `passing`: the trouble is not the set's.
  absl::Status BeginRollback(const std::string& reason, const std::string& detail, bool passing);
  // Swaps back; runs the apply hook again if it ran for the new set. ROLLBACK_FAILED when the old set could not be
  // brought back, or its apply hook failed. Notes the rollback in the task's view until ForgetRollback.
  absl::Status FinishRollback();
  absl::Status ForgetRollback(const std::string& task);

  // Takes over what the state folder of an older version knows, unless the record knows the task already; of a state
  // that belongs to another target only the revision.
  absl::Status Adopt(const std::string& task, const std::string& state_folder);

 private:
  Installer(TargetFolder* folder, Options options) : folder_(folder), options_(std::move(options)) {}

  absl::Status Recover();
  absl::Status RecoverPending();
  absl::Status UndoUnfinished();
  absl::Status Choose(const std::string& task, const task::v1::Manifest& manifest,
                      const std::string& state_folder) const;
  absl::Status StageChosen(const UpdatePlan& plan, const task::v1::Manifest& manifest, const ReadChunk& read_chunk);
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
  absl::Status RecordRollback(bool failed);
  absl::Status CleanUp();
  absl::Status WriteJournal(Journal::Phase phase);
  absl::Status WriteTargetRecord() const;
  std::string JournalPath() const { return folder_->place_path() + "/journal"; }
  std::string RecordPath() const { return folder_->place_path() + "/record"; }

  TargetFolder* folder_;
  Options options_;
  TargetRecord record_;
  // Empty unless a new set is swapped in, or staged; then with the method that it is about.
  std::optional<Journal> journal_;
  std::unique_ptr<SwapMethod> method_;
  bool swapped_ = false;
  // What Check tells, which changes nothing on the disk.
  mutable Method choice_ = Method::kExchange;
  mutable std::string choice_reason_;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_INSTALLER_H_
