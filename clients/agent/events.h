// What happens while an agent works, for a program that shows it or writes it down.
//
// Threads: an observer is called on threads of the agent's, one call at a time and in the order in which things happen.
// It must return quickly.
#ifndef PARLEY_CLIENTS_AGENT_EVENTS_H_
#define PARLEY_CLIENTS_AGENT_EVENTS_H_

#include <cstdint>
#include <string>
#include <variant>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "clients/agent/method.h"
#include "parley/task/v1/task.pb.h"

namespace parley::agent {

// The `task` of an event is "tasks/{task}".
namespace event {

// A connection stands: "taskd.example:7443", "TLS 1.2 ECDHE-PSK-CHACHA20-POLY1305".
struct Connected {
  std::string address;
  std::string protocol;
};
// The server is away for the reason `why`; the agent tries again at `retry_time`.
struct Disconnected {
  absl::Status why;
  absl::Time retry_time;
};
// The device waits for a task that selects it by its labels.
struct Idle {};
// The client is a member of the task: "tasks/{task}/participants/{client}".
struct Joined {
  std::string task;
  std::string participant;
};
// There is no offer yet, or it was put off. `until` is InfiniteFuture when nobody knows.
struct Waiting {
  std::string task;
  std::string reason;
  absl::Time until;
};
// Something on this machine keeps the client from taking an offer: a code such as "disk_full", and a sentence. The
// client checks again at `retry_time`.
struct Hindered {
  std::string task;
  std::string code;
  std::string detail;
  absl::Time retry_time;
};
// An update of an earlier process lies undecided at the target; it is rolled back at `until` unless it is confirmed
// before.
struct Undecided {
  std::string task;
  absl::Time until;
};
// The set will be put in place by this method; `why` is a clause that goes on after "because", empty where nothing
// demands the method.
struct MethodChosen {
  std::string task;
  Method method = Method::kExchange;
  std::string why;
};
// An offer has been verified, and must be applied before `deadline`. `bytes` is the size of the payload.
struct Offered {
  std::string task;
  int64_t revision = 0;
  int files = 0;
  int64_t bytes = 0;
  absl::Time deadline;
  bool forced = false;
};
// The operator's signature on what is offered is good; it comes before Offered.
struct OperatorVerified {
  std::string task;
  std::string user;
  std::string device;
};
// `bytes` of the `total` bytes of content are here already.
struct Progress {
  std::string task;
  int64_t bytes = 0;
  int64_t total = 0;
};
// All content is here: `received_bytes` of it, compressed, came over the network in this run, and the target had
// `reused_bytes`.
struct Fetched {
  std::string task;
  int64_t received_bytes = 0;
  int64_t reused_bytes = 0;
};
struct CheckPassed {
  std::string task;
  absl::Duration duration;
};
struct Applied {
  std::string task;
  absl::Duration duration;
};
struct Confirmed {
  std::string task;
  int64_t revision = 0;
};
// The old set is being brought back. `reason` is a code such as "check_failed", "apply_failed", "interrupted" or
// "unconfirmed"; `detail` is a sentence or the last output of the command.
struct RollingBack {
  std::string task;
  std::string reason;
  std::string detail;
};
struct RolledBack {
  std::string task;
  // There is no old set: nothing was in the target before the update.
  bool nothing_before = false;
};
struct RollbackFailed {
  std::string task;
  std::string detail;
};
struct UpToDate {
  std::string task;
  int64_t revision = 0;
};
// This client has refused the offer, by policy or because what was offered does not verify.
struct Declined {
  std::string task;
  std::string code;
  std::string detail;
};
// The task has ended, or this client's part in it; `reason` is for INELIGIBLE, CANCELED and TIMED_OUT.
struct Ended {
  std::string task;
  task::v1::Task::State task_state = task::v1::Task::STATE_UNSPECIFIED;
  task::v1::Participant::State client_state = task::v1::Participant::STATE_UNSPECIFIED;
  std::string reason;
};
// The device has its next credential. Only RunDevice has this event and the next.
struct Renewed {
  absl::Time not_after;
};
struct RenewalFailed {
  absl::Status why;
  absl::Time retry_time;
};
// A task could not be carried out; the others go on.
struct Failed {
  std::string task;
  absl::Status why;
};

}  // namespace event

using Event =
    std::variant<event::Connected, event::Disconnected, event::Idle, event::Joined, event::Waiting, event::Hindered,
                 event::Undecided, event::MethodChosen, event::Offered, event::OperatorVerified, event::Progress,
                 event::Fetched, event::CheckPassed, event::Applied, event::Confirmed, event::RollingBack,
                 event::RolledBack, event::RollbackFailed, event::UpToDate, event::Declined, event::Ended,
                 event::Renewed, event::RenewalFailed, event::Failed>;

class Observer {
 public:
  virtual ~Observer() = default;
  virtual void OnEvent(const Event& event) = 0;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_EVENTS_H_
