// One client's update from the accepted offer to its end: fetch, stage, swap, check, apply, confirm, or roll back.
//
// Keeps the server's idea of where the client stands in step with the journal on the disk, in this order: a state is
// reported before it is entered, and a decision is on the disk before it is reported. So whichever of the two crashes
// finds the other at the same place or one step away.
//
// Threads: not thread-safe; the session's thread calls each method.
#ifndef PARLEY_CLIENTS_AGENT_UPDATE_H_
#define PARLEY_CLIENTS_AGENT_UPDATE_H_

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clients/agent/cancellation.h"
#include "clients/agent/chunk_cache.h"
#include "clients/agent/negotiation.h"
#include "clients/agent/options.h"
#include "clients/agent/target_owner.h"
#include "clients/agent/task_member.h"
#include "clients/agent/task_state.h"
#include "clients/agent/transfer.h"

namespace parley::agent {

class Update {
 public:
  // All must outlive it. `listener` does not hear of what is done here. `negotiation` is the session's, and null while
  // there is no connection.
  Update(const Options* options, const Announcer* announce, TaskState* state, TargetOwner* owner,
         const TargetOwner::Listener* listener, const std::unique_ptr<Negotiation>* negotiation,
         Cancellation* cancellation);
  // Gives up the turn.
  ~Update();

  // Carries the update out from ACCEPTED (or further) on, as far as it goes. `offer` is that of `manifest`. result()
  // says how the update came out; the errors are those of the connection, which a new one may mend.
  absl::Status Run(const task::v1::Manifest& manifest, const task::v1::Offer& offer);

  // Returns whether an update of this task lies undecided at the target.
  bool pending() const;
  // Goes on with a pending() update from where it stands, or takes it back when the server does not wait for it.
  // Without a connection the commands are run, and the update is confirmed once. `declared_digest` is that of the
  // declaration that the server's view rests on. The errors are those of the connection.
  absl::Status ResumePending(const std::string& declared_digest);
  // Takes the update back. `passing` says that the cause is not the set's. result() says how that came out; the errors
  // are those of the connection.
  absl::Status RollBack(const std::string& reason, const std::string& detail, bool passing);
  // Reports a recorded rollback to the server, if it waits for that, and forgets it. The errors are those of the
  // connection.
  absl::Status ReportRollback(const TargetOwner::Rollback& rollback);

  enum class End {
    kOpen,
    kConfirmed,
    // Something on this machine keeps it from going on: `error`. The target is as it was.
    kHindered,
    // The set is to blame for it: `error`. The target is as it was, and the server has been told.
    kRefused,
    // The old set is back, for `reason`; with `error` when its apply command failed, or it could not be brought back.
    kRolledBack,
    // The update is confirmed, but that could not be recorded, which the next process does. `error` says why.
    kUnrecorded,
  };
  // How the newest update came out here.
  struct Result {
    End end = End::kOpen;
    absl::Status error;
    std::string reason;
    std::string detail;
    bool passing = false;
    // The old set could not be brought back, or its apply command failed.
    bool failed = false;
  };
  const Result& result() const { return result_; }
  void ForgetResult() { result_ = Result(); }
  // Returns whether bytes have come in since the last call.
  bool ReceivedSinceLastCall();

 private:
  task::v1::Participant::State state() const;
  bool server_is_applying() const;
  // Reports `to` when the client stands at `from`. Returns false when the server does not follow.
  absl::StatusOr<bool> AdvanceFrom(task::v1::Participant::State from, task::v1::Participant::State to) const;
  absl::Status FailBeforeSwap(const absl::Status& why);
  absl::Status RollBackFor(const absl::Status& why);
  absl::Status Fetch(const task::v1::Manifest& manifest, ChunkCache* store);
  absl::Status Apply(const task::v1::Manifest& manifest, const task::v1::Offer& offer, const ChunkCache& store);
  absl::Status CheckTime(const task::v1::Manifest& manifest, const task::v1::Offer& offer) const;
  absl::StatusOr<bool> WaitForWindow(const task::v1::Offer& offer);
  absl::Status StageAndSwap(const task::v1::Manifest& manifest, const ChunkCache& store);
  UpdatePlan MakePlan() const;
  absl::Status RunCommands(bool* passed);
  absl::Status Confirm();
  absl::Duration TimeToConfirm() const;
  absl::Status CallConfirm(const std::string& digest, int32_t attempt);
  absl::Status Commit();
  std::string ChunkFolder() const { return state_->folder() + "/chunks"; }

  const Options& options_;
  const Announcer& announce_;
  TaskState* const state_;
  TargetOwner* const owner_;
  const TargetOwner::Listener* const listener_;
  const std::unique_ptr<Negotiation>& negotiation_;
  Cancellation* const cancellation_;
  const std::string task_;
  Result result_;
  bool received_ = false;
  // The disk has lost a chunk that was there.
  bool chunk_lost_ = false;
  // The attempt and the reason of a failed rollback that the observer knows of; it is tried again.
  std::pair<int32_t, std::string> announced_failure_;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_UPDATE_H_
