// One client in one task, from joining to the end, over as many connections as it takes.
//
// The session compares where the server says that the client stands with what is on the disk, and does what is to be
// done there; it has no plan of its own. What keeps it from going on and passes is declared, and checked again.
//
// Threads: Run blocks its caller; any thread may cancel it.
#ifndef PARLEY_CLIENTS_AGENT_TASK_SESSION_H_
#define PARLEY_CLIENTS_AGENT_TASK_SESSION_H_

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clients/agent/cancellation.h"
#include "clients/agent/faults.h"
#include "clients/agent/hindrance.h"
#include "clients/agent/negotiation.h"
#include "clients/agent/offer_check.h"
#include "clients/agent/options.h"
#include "clients/agent/outcome.h"
#include "clients/agent/target_owner.h"
#include "clients/agent/task_member.h"
#include "clients/agent/task_state.h"
#include "clients/agent/update.h"
#include "lib/base/mutex.h"

namespace parley::agent {

class TaskSession final : private TargetOwner::Listener {
 public:
  // `options` (its hooks, policy and facts) and `cancellation` must outlive the session. `target` is the folder or
  // file, without placeholders.
  TaskSession(const Options* options, JoinCredentials credentials, std::string target, Announcer announce,
              Cancellation* cancellation);
  ~TaskSession() override;

  // Returns how the client's part has ended; with credentials.follow, only once the task has. It returns the errors of
  // agent::Join.
  absl::StatusOr<Outcome> Run();

 private:
  // task_session.cc has the connection, the declaration, and the checks of what hinders.
  absl::Status Prepare();
  absl::Status OpenTarget();
  absl::Status RollBackOthers(TargetOwner* owner);
  // Works over one connection until there is a result, or the connection ends.
  absl::Status RunStream();
  absl::Status RunSteps();
  absl::Status Declare();
  task::v1::Declaration MakeDeclaration();
  absl::Status FillInstalled(task::v1::Declaration* declaration) const;
  absl::Duration TimeToRecheck() const;
  absl::Status Reevaluate();
  absl::Status RecheckHindrance();
  absl::Status DeclareHindrance(const absl::Status& why);
  void RecordHindrance(const absl::Status& why);
  void RecordProgress();
  // Waits for the next try. Returns the error when there is to be none.
  absl::Status WaitToRetry(const absl::Status& status);
  bool MayJoinAnew(Fault fault) const;
  absl::StatusOr<Outcome> Finish(const absl::Status& why);
  void LeaveNothingPending(const absl::Status& why);

  // task_session_states.cc has what the state that the server sees asks for.
  absl::Status Step();
  absl::Status ReportUnrecordedRollback();
  bool must_wait() const;
  bool must_wait_to_resume() const;
  std::pair<std::string, int32_t> CurrentStanding() const;
  OfferCheck::Verdict Examine();
  absl::Status OnOffer();
  void AnnounceOffer(const task::v1::Offer& offer);
  absl::Status Answer(const task::v1::Offer& offer);
  absl::Status Refuse(const absl::Status& why, bool forced);
  absl::Status Decline(const std::string& code, const std::string& detail);
  absl::Status AfterUpdate();
  absl::Status EndConfirmed();
  void OnWaiting();
  absl::Status OnStanding();
  absl::Status OnEnded();
  void AnnounceEnd(bool task_ended);
  absl::Status CheckDrift();
  Outcome MakeOutcome(task::v1::Participant::State state) const;

  // TargetOwner::Listener
  void OnEvent(const Event& event) override;
  void OnChanged(bool committed) override;

  const task::v1::NegotiateResponse& current() const { return negotiation_->current(); }
  task::v1::Participant::State state() const { return current().state(); }
  bool pending() const { return update_.has_value() && update_->pending(); }

  const Options& options_;
  const JoinCredentials credentials_;
  const std::string target_;
  const Announcer announce_;
  Cancellation* const cancellation_;
  const std::string task_;
  const std::string instance_;

  std::unique_ptr<TaskState> state_;
  std::optional<TaskMember> member_;
  // Null while the target cannot be opened.
  std::shared_ptr<TargetOwner> owner_;
  std::optional<Update> update_;
  Retry retry_;
  HindranceWatch hindrances_;
  OfferCheck offer_check_;
  // Null while there is no connection.
  std::unique_ptr<Negotiation> negotiation_;

  // The offer that stands, or stood last.
  std::optional<task::v1::Offer> offer_;
  task::v1::Declaration declared_;
  // An update was undecided when the declaration was made, or has been taken back here since.
  bool declared_undecided_ = false;
  // A person has given the command again, and the server does not know it yet.
  bool retry_wanted_;
  // A former process rolled back and has not told the server: that comes before another attempt is asked for.
  bool former_rollback_ = false;
  // The server did not take up the wish for another attempt, as one of an earlier version does.
  bool retry_ignored_ = false;
  // The furthest place at which the server saw the client: revision and rank of the state.
  std::pair<int64_t, int> furthest_;
  // The attempt of the offer that the observer knows, of the one for which another window was refused, and of the one
  // that is hindered.
  std::pair<int64_t, int32_t> offered_;
  int32_t countered_attempt_ = 0;
  int32_t hindered_attempt_ = 0;
  // Something keeps an undecided update from being decided; these are the signed manifest and the attempt that stood
  // then.
  std::optional<std::pair<std::string, int32_t>> stuck_at_;
  // The client has declared since it timed out.
  bool declared_since_timeout_ = false;
  // The revision of which the observer knows that it is installed.
  int64_t confirmed_ = 0;
  // An update is confirmed, but that could not be recorded yet.
  bool unrecorded_ = false;
  // What this client refused, and why; it is the end of a session that does not follow.
  absl::Status refusal_;
  // The standing that the observer was told of last.
  std::string announced_;
  std::optional<absl::StatusOr<Outcome>> result_;

  // Others than this session have changed the disk, or have committed, which may have made room for this task.
  std::atomic<bool> disk_changed_ = false;
  std::atomic<bool> committed_ = false;
  Mutex wake_mutex_;
  Negotiation* to_wake_ ABSL_GUARDED_BY(wake_mutex_) = nullptr;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_TASK_SESSION_H_
