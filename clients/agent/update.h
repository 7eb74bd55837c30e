// One client's update from the accepted offer to its end: fetch, stage, swap, check, apply, confirm, or roll back.
//
// Keeps the server's idea of where the client stands in step with the journal on the disk, in this order: a state is
// reported before it is entered, and a decision is on the disk before it is reported. So whoever of the two crashes
// finds the other at the same place or one step away.
//
// Threads: none. Holds its turn at the target (TargetFolder::BeginUpdate) while an update is undecided.
#ifndef PARLEY_CLIENTS_AGENT_UPDATE_H_
#define PARLEY_CLIENTS_AGENT_UPDATE_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clients/agent/agent.h"
#include "clients/agent/cancellation.h"
#include "clients/agent/chunk_store.h"
#include "clients/agent/download.h"
#include "clients/agent/installer.h"
#include "clients/agent/member.h"
#include "clients/agent/negotiation.h"
#include "clients/agent/target_folder.h"
#include "clients/agent/task_state.h"
#include "lib/transport/grpc_door.h"

namespace parley::agent {

class Update {
 public:
  // All must outlive it.
  Update(const Options* options, const Announcer* announce, TaskState* state, TargetFolder* folder,
         Cancellation* cancellation);
  ~Update();

  // Recovers what the last process left. Errors as of Installer::Open.
  absl::Status Open();

  // What the task has installed, for the declaration.
  absl::Status Declare(task::v1::Declaration* declaration) const;
  // Whether the target could take it: errors of Installer::CheckRevision and Check.
  absl::Status Check(const task::v1::Manifest& manifest) const;

  // A new set is in place and undecided.
  bool pending() const { return installer_->pending().has_value(); }
  // It has been so for longer than a client may need to confirm.
  bool overdue() const;
  // A rollback that the server has not been told of.
  bool has_rollback() const { return installer_->view(task_).rollback.has_value(); }
  int64_t installed_revision() const { return installer_->view(task_).revision; }

  // From ACCEPTED (or further) on: as far as it goes. Errors are those of the connection, which a new one may mend; how
  // the update itself ended is in result(). `offer` is that of `manifest`.
  absl::Status Carry(transport::Channel* channel, Negotiation* negotiation, const task::v1::Manifest& manifest,
                     const task::v1::Offer& offer);
  // With pending(): goes on from where it stands. Without a negotiation, when there is no time for one.
  absl::Status Settle(Negotiation* negotiation);
  absl::Status RollBack(const std::string& reason, const std::string& detail, Negotiation* negotiation);
  absl::Status ReportRollback(Negotiation* negotiation);

  // How the newest update ended here, once it has: with the error that kept it from being applied; or confirmed, or
  // rolled back for a reason.
  struct Result {
    absl::Status error;
    bool confirmed = false;
    // Confirmed, but could not be noted so: it stays, and the next process notes it.
    bool unnoted = false;
    std::string reason;
    std::string detail;
  };
  const std::optional<Result>& result() const { return result_; }
  void ForgetResult() { result_.reset(); }

 private:
  UpdatePlan Plan(int32_t attempt) const;
  absl::StatusOr<bool> Report(Negotiation* negotiation, task::v1::Participant::State state,
                              const std::string& reason = "", const std::string& detail = "", int64_t bytes = 0);
  absl::Status FailBeforeSwap(Negotiation* negotiation, const absl::Status& why);
  absl::Status Fetch(transport::Channel* channel, Negotiation* negotiation, const task::v1::Manifest& manifest,
                     ChunkStore* store, absl::Status* failure);
  absl::Status FetchRest(transport::Channel* channel, Negotiation* negotiation, const task::v1::Manifest& manifest,
                         Download* download, absl::Status* failure);
  absl::Status Apply(Negotiation* negotiation, const task::v1::Manifest& manifest, const task::v1::Offer& offer,
                     const ChunkStore& store);
  absl::StatusOr<bool> WaitForWindow(Negotiation* negotiation, const task::v1::Offer& offer);
  absl::Status StageAndSwap(Negotiation* negotiation, const task::v1::Manifest& manifest, const ChunkStore& store,
                            bool* swapped);
  absl::Status RunHooks(Negotiation* negotiation, bool* passed);
  absl::Status Confirm(Negotiation* negotiation);
  absl::Status CallConfirm(const std::string& digest);
  absl::Status Commit();
  absl::Status Reopen();
  void BeginTurn();
  void EndTurn();
  std::string ChunkFolder() const { return state_->folder() + "/chunks"; }

  const Options& options_;
  const Announcer& announce_;
  TaskState* const state_;
  TargetFolder* const folder_;
  Cancellation* const cancellation_;
  const std::string task_;
  std::optional<Installer> installer_;
  std::optional<Result> result_;
  bool turn_ = false;
  // The disk has lost a chunk that was there.
  bool chunk_lost_ = false;
};

// A reason of an error's as a code of the protocol's: "DISK_FULL" as "disk_full".
std::string ReasonCode(const absl::Status& status);
// At most 4096 bytes of UTF-8, the end of the text.
std::string Detail(absl::string_view text);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_UPDATE_H_
