// The one owner that a target folder has in this process: it holds the lock and the journal, and decides what lies
// undecided.
//
// An update that was swapped in and is neither committed nor rolled back is undecided. Its session confirms it and
// tells the owner. When nobody does so within the update's confirm-timeout, the owner rolls it back by itself: whatever
// the server says or does not say, whatever has become of the task, and whichever process began the update. The time is
// measured by a clock that nobody can set and that goes on while the machine sleeps.
//
// One session at a time has the turn to update. What a session asks is answered from the disk.
//
// Threads: all methods may be called from any thread; those that read or write the disk wait for one another. The owner
// has one thread of its own, which sleeps unless something is undecided. Listeners are called on any thread.
#ifndef PARLEY_CLIENTS_AGENT_TARGET_OWNER_H_
#define PARLEY_CLIENTS_AGENT_TARGET_OWNER_H_

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "clients/agent/boot_clock.h"
#include "clients/agent/cancellation.h"
#include "clients/agent/events.h"
#include "clients/agent/installer.h"
#include "clients/agent/target_folder.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"

namespace parley::agent {

// Returns RolledBack when the rollback came to its end, and RollbackFailed otherwise.
Event RollbackEnd(const Installer::Pending& pending, const absl::Status& status);

class TargetOwner {
 public:
  struct Options {
    TargetFolder::Kind kind = TargetFolder::Kind::kFolder;
    // Both clocks must outlive the owner.
    Installer::Options installer;
  };

  // Observes what the owner does by itself: Undecided, RollingBack, RolledBack and RollbackFailed.
  class Listener : public Observer {
   public:
    // Is called when somebody else has put another set in place for good (`committed`), or has brought the old one
    // back.
    virtual void OnChanged(bool committed) {}
  };

  using Pending = Installer::Pending;
  using TaskView = Installer::TaskView;
  using OnDisk = Installer::OnDisk;
  using Rollback = Installer::Rollback;

  // Returns the owner that the process has for this target, if it is current, or a new one, which finishes what was
  // decided already. Returns the errors of TargetFolder::Open and Installer::Open.
  static absl::StatusOr<std::shared_ptr<TargetOwner>> Get(const std::string& target, const Options& options);
  // Gives the target up. What is undecided stays so for the next owner.
  ~TargetOwner();
  TargetOwner(const TargetOwner&) = delete;
  TargetOwner& operator=(const TargetOwner&) = delete;

  // Returns the path of the target, absolute and without links.
  const std::string& target() const { return folder_->target(); }
  // Return the folder in which the payload's paths lie, and one on the file system on which new files are written.
  const std::string& root_path() const { return folder_->root_path(); }
  const std::string& place_path() const { return folder_->place_path(); }

  // Returns false when the folders of the target are not those any more that the owner holds, and nothing is undecided
  // in them: then Get opens them anew.
  bool IsCurrent() const;
  // Returns whether the folders are others by now, although an update may be undecided in those that the owner holds.
  bool HasMoved() const { return !folder_->IsCurrent(); }
  // Returns whether a link has taken the place of the target.
  bool IsLink() const { return folder_->IsLink(); }
  // Returns a sentence for people that names what can have made other folders of them.
  std::string HowItMoved() const;

  // Calls `listener` for what follows until Leave returns, and at once when something is undecided.
  void Join(Listener* listener);
  void Leave(Listener* listener);

  // Makes the task known, with what an old version of this program recorded in its state folder. Returns the errors of
  // Installer::Adopt.
  absl::Status Adopt(const std::string& task, const std::string& state_folder);

  // Return what Installer's methods of the same name do. PendingDigest returns NOT_PENDING if nothing is undecided; it
  // and Read return the errors of payload::ScanInstalled.
  std::optional<Pending> pending() const;
  TaskView view(const std::string& task) const;
  absl::StatusOr<OnDisk> Read(const std::string& task) const;
  absl::StatusOr<std::string> PendingDigest() const;
  bool HoldsNothing() const;
  // Checks whether the target can take the set now. Returns TARGET_TURN as BeginTurn does, and the errors of
  // Installer::CheckRevision and Installer::Check.
  absl::Status Check(const std::string& task, const task::v1::Manifest& manifest) const;
  // Returns how the set that was checked last is to be put in place, and why not in another way: a sentence, or empty.
  std::pair<Method, std::string> choice() const;

  // Takes the turn to update; taking it twice is no error. Returns TARGET_TURN (ABORTED) while another task has it, or
  // its update is undecided.
  absl::Status BeginTurn(const std::string& task);
  // Gives the turn up.
  void EndTurn(const std::string& task);

  // Builds the new set without a change to the target. Returns TARGET_CHANGED if the owner is not current, and the
  // errors of Installer::Stage.
  absl::Status Stage(const UpdatePlan& plan, const task::v1::Manifest& manifest, const ReadChunk& read_chunk);
  // Puts the new set in place. Returns TARGET_CHANGED if somebody wrote to the target meanwhile (Stage again), and the
  // other errors of Installer::Swap.
  absl::Status Swap();
  // Run a command, and fail with NOT_PENDING if the set has been rolled back meanwhile.
  HookResult RunCheck();
  absl::StatusOr<HookResult> RunApply();
  // Makes the new set the installed one for good. The listener `by` does not hear of it. Returns NOT_PENDING when the
  // set has been rolled back meanwhile.
  absl::Status Commit(const Listener* by);
  // Decides for the old set, durably. Returns NOT_PENDING when there is nothing to decide any more.
  absl::Status BeginRollback(const std::string& reason, const std::string& detail, bool passing);
  // Brings the old set back. The listener `by` does not hear of it, and nobody does while the set still lies undecided.
  // Returns ROLLBACK_FAILED when the old set does not come back, or its apply command fails.
  absl::Status FinishRollback(const Listener* by);
  // Forgets the rollback, which the server knows of.
  void ForgetRollback(const std::string& task);

  // Leaves the decision, while it lives, to its holder, which is just about to make it.
  class Hold {
   public:
    explicit Hold(TargetOwner* owner);
    ~Hold();
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    TargetOwner* const owner_;
  };

  // Blocks until nothing is undecided, and the listeners know of it; or, if it is not `patient`, until a rollback by
  // the owner itself has failed, which is ROLLBACK_FAILED then. Returns CANCELLED when it is cancelled.
  absl::Status AwaitDecision(bool patient, Cancellation* cancellation);

 private:
  TargetOwner(const Options& options, std::unique_ptr<TargetFolder> folder)
      : options_(options), folder_(std::move(folder)) {}
  absl::Status Open();
  // Makes what the installer says of an undecided update known to everybody.
  void Publish() ABSL_EXCLUSIVE_LOCKS_REQUIRED(disk_mutex_);
  // Tells one listener of what the owner does.
  void Announce(const Event& event);
  // Tells all listeners but `by` that the disk has changed.
  void NotifyChanged(bool committed, const Listener* by);
  absl::Time Due() const;
  absl::Duration Now() const { return options_.installer.boot_clock->Uptime(); }
  absl::Status CheckTurnLocked(const std::string& task) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What the owner's thread runs.
  void Run();
  bool AwaitsLocked(bool patient) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Duration LeftLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WaitLocked(absl::Duration left) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RollBackOverdue(bool passing);

  const Options options_;
  const std::unique_ptr<TargetFolder> folder_;

  // Whoever reads or writes the disk holds it, for as long as a command runs; it is taken before mutex_.
  mutable Mutex disk_mutex_;
  mutable std::optional<Installer> installer_ ABSL_GUARDED_BY(disk_mutex_);

  mutable Mutex mutex_;
  CondVar changed_;
  std::optional<Pending> pending_ ABSL_GUARDED_BY(mutex_);
  // When pending_ was read, and until when nothing is rolled back, both by the boot clock.
  absl::Duration read_ ABSL_GUARDED_BY(mutex_);
  absl::Duration grace_end_ ABSL_GUARDED_BY(mutex_) = -absl::InfiniteDuration();
  // Nobody was there to confirm in time, so that a rollback is not the set's fault.
  bool passing_ ABSL_GUARDED_BY(mutex_) = false;
  int graces_ ABSL_GUARDED_BY(mutex_) = 0;
  // What the thread announced of a rollback that did not come to an end; it is tried for as long as that takes.
  std::string announced_failure_;
  // How the newest try of it came out, unless the machine only had no room for it.
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  // The owner's thread rolls back, and has not announced yet how that came out.
  bool rolling_back_ ABSL_GUARDED_BY(mutex_) = false;
  std::string turn_ ABSL_GUARDED_BY(mutex_);
  int holds_ ABSL_GUARDED_BY(mutex_) = 0;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;

  Mutex listeners_mutex_;
  std::set<Listener*> listeners_ ABSL_GUARDED_BY(listeners_mutex_);

  std::thread thread_;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_TARGET_OWNER_H_
