// One client in one task, from joining to the end, over as many connections as it takes.
//
// Threads: Run blocks its caller; it may be cancelled from any thread.
#ifndef PARLEY_CLIENTS_AGENT_SESSION_H_
#define PARLEY_CLIENTS_AGENT_SESSION_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clients/agent/agent.h"
#include "clients/agent/cancellation.h"
#include "clients/agent/faults.h"
#include "clients/agent/member.h"
#include "clients/agent/negotiation.h"
#include "clients/agent/target_folder.h"
#include "clients/agent/task_state.h"
#include "clients/agent/update.h"

namespace parley::agent {

class Session {
 public:
  // `options` (its hooks, policy, labels and facts), `folder` and `cancellation` must outlive the session.
  Session(const Options* options, Entry entry, TargetFolder* folder, Announcer announce, Cancellation* cancellation);

  // How the client's part has ended; with entry.follow, when the task has. Errors as of agent::Join.
  absl::StatusOr<Outcome> Run();

 private:
  absl::Status Prepare();
  // Until it has a result, or cannot go on over what connection there is.
  absl::Status Converse();
  absl::Status Declare(Negotiation* negotiation);
  // Does what the state that the server sees asks for.
  absl::Status Step(transport::Channel* channel, Negotiation* negotiation);
  absl::Status OnOffer(Negotiation* negotiation);
  absl::Status Answer(Negotiation* negotiation, const task::v1::Offer& offer);
  absl::Status Refuse(Negotiation* negotiation, const absl::Status& why, bool forced);
  absl::Status Decline(Negotiation* negotiation, const std::string& code, const std::string& detail);
  absl::Status OnAccepted(transport::Channel* channel, Negotiation* negotiation);
  absl::Status AfterUpdate(Negotiation* negotiation);
  void OnWaiting(const task::v1::NegotiateResponse& current);
  void OnEnded(const task::v1::NegotiateResponse& current);
  Outcome MakeOutcome(const task::v1::NegotiateResponse& current) const;
  // Nothing undecided is left behind by a process that ends in peace.
  void LeaveNothingPending(const absl::Status& why);
  absl::Status Verify(const task::v1::Offer& offer);

  const Options& options_;
  Entry entry_;
  TargetFolder* const folder_;
  const Announcer announce_;
  Cancellation* const cancellation_;
  const std::string task_;

  std::unique_ptr<TaskState> state_;
  std::optional<Update> update_;
  Retry retry_;
  int64_t last_version_ = 0;

  // The newest offer that has proved good.
  std::optional<task::v1::Manifest> manifest_;
  std::string manifest_bytes_;
  // Attempts of which the observer knows, and for which another window was refused.
  int32_t offered_attempt_ = 0;
  int32_t countered_attempt_ = 0;
  // What this client refused, and why; it is the end of a session that does not follow.
  absl::Status refusal_;
  std::string told_;
  std::optional<absl::StatusOr<Outcome>> result_;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_SESSION_H_
