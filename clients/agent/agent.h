// Takes part in update tasks: what `parley join` and `parley agent` do.
//
// Join enters one task with a pasted key and carries out what it offers: verify, fetch, apply, check, confirm, or
// roll back. RunDevice does the same for every task that selects a machine by its labels, which operators set, for as
// long as it is let.
// Guarantees, whatever the server sends and whenever the process is killed: the target folder is the whole old set
// or the whole new one; nothing is applied that the task's key has not signed, that is older than what was applied
// before, or that has expired. docs/protocol/applying.md has the steps.
//
// Everything durable is in `state_dir`, a folder a task. One process at a time may use that, and a target.
//
//   agent::JoinOptions options;
//   ASSIGN_OR_RETURN(options.key, keys::ParseJoinKey(pasted, absl::Now()));
//   options.state_dir = "/var/lib/parley";
//   options.into = "/etc/nginx";
//   options.hooks.check = "nginx -t";
//   options.hooks.apply = "systemctl reload nginx";
//   ASSIGN_OR_RETURN(const agent::Outcome outcome, agent::Join(std::move(options), &printer));
//
// Threads: Join and RunDevice block. Observers are called on threads of the agent's, one call at a time.
#ifndef PARLEY_CLIENTS_AGENT_AGENT_H_
#define PARLEY_CLIENTS_AGENT_AGENT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "clients/agent/boot_clock.h"
#include "clients/agent/hooks.h"
#include "clients/agent/method.h"
#include "lib/base/clock.h"
#include "lib/keys/credential.h"
#include "lib/keys/join_key.h"
#include "lib/trust/chain.h"
#include "parley/task/v1/manifest.pb.h"
#include "parley/task/v1/task.pb.h"

namespace parley::agent {

struct Window {
  absl::Time start;
  absl::Time end;
};

// What to answer to an offer. The default accepts every one at once.
struct Policy {
  // Put offers off until then, as often as the task allows it.
  absl::Time defer_until = absl::InfinitePast();
  std::string defer_reason;
  // Refuse every offer, with this sentence for the operator. Of a forced task Join then ends with an error.
  std::optional<std::string> decline;
  // Apply only within one of these; any time when empty.
  std::vector<Window> windows;
};

// What Join and RunDevice have in common.
struct Options {
  // Folder for keys, progress and partial transfers; made with mode 0700.
  std::string state_dir;
  // Folder that the payload is laid over. Made when missing. "{task}" in it stands for the task's id.
  std::string into;
  // A file to install a payload of one file as, in place of `into`. "{task}" as in that.
  std::string into_file;
  Method method = Method::kAutomatic;
  // host:port at which the server is reached, and remembered, in place of the address in the key.
  std::string server;
  Hooks hooks;
  Policy policy;
  // What the machine says of itself. "os", "arch" and "host" are filled in when absent.
  std::map<std::string, std::string> facts;
  // Of an enrolled device: fetches the chain of trust as it is now, verified up to the root that the device believes,
  // and never less than it has seen. Then a manifest with an operator's signature is applied only when that is good
  // (lib/trust), both when it is offered and at the last moment before it is applied. Called on several threads, one
  // call at a time for each task; an error of the kind that passes is waited for. Without it signatures are not looked
  // at.
  std::function<absl::StatusOr<std::shared_ptr<const trust::Chain>>()> chain;
  // Apply nothing that no operator has signed. Needs `chain`.
  bool require_operator_signature = false;
  // How long to try to confirm over a fresh connection before rolling back: a configuration that cuts the machine
  // off heals itself. Below the task's apply lease (15 minutes).
  absl::Duration confirm_timeout = absl::Minutes(10);
  // Between attempts to reach a server that is away, on average: the first, which doubles up to the second. By chance
  // it is anything from nothing to twice that, so that clients that lost it together do not come back together.
  absl::Duration min_backoff = absl::Milliseconds(500);
  absl::Duration max_backoff = absl::Seconds(30);
  // At most how long Join without `follow` tries to reach a server that it never reached; one that goes away later is
  // waited for as long as the key lives. A client that stays waits for ever.
  absl::Duration connect_timeout = absl::Seconds(20);
  // Must outlive the call. How long an update is undecided is measured by the second.
  Clock* clock = Clock::System();
  BootClock* boot_clock = BootClock::System();
  // How long Join without `follow` waits for a hindrance to pass: a full disk, a wrong clock, a target that is in use.
  absl::Duration hindrance_timeout = absl::Minutes(2);
  // Between two looks whether a hindrance has passed, on average, as above.
  absl::Duration min_recheck = absl::Seconds(1);
  absl::Duration max_recheck = absl::Seconds(30);
  // When given, ends the call with CANCELLED at the next safe moment; must outlive the call.
  class Stop* stop = nullptr;
};

struct JoinOptions : Options {
  // Without one, goes on with a task that was joined before from state_dir.
  std::optional<keys::JoinKey> key;
  // Which of the tasks in state_dir to go on with; the only one when empty. Not used with a key.
  std::string task;
  // Name within the task; DefaultClientName() when empty.
  std::string client_name;
  // Stay for later revisions until the task ends, instead of returning after the first that ends for this client.
  bool follow = false;
};

struct DeviceOptions : Options {
  // A device's credential.
  keys::Credential credential;
  // Gets the next one from keyd and keeps it for the next start; blocks. Called when about two thirds of the life that
  // was left to the credential are over, and after a failure again, until it has ended. On one thread. Without it,
  // RunDevice ends with its credential.
  std::function<absl::StatusOr<keys::Credential>()> renew;
};

// Ends Join or RunDevice from another thread or from a signal handler.
class Stop {
 public:
  Stop();
  ~Stop();
  Stop(const Stop&) = delete;
  Stop& operator=(const Stop&) = delete;
  // Async-signal-safe; once is enough.
  void Request();
  bool requested() const;
  // Readable from the request on; for poll.
  int fd() const { return fd_; }

 private:
  const int fd_;
};

// Told what happens, in the order it happens. `task` is "tasks/{task}" everywhere. Must return quickly.
class Observer {
 public:
  virtual ~Observer() = default;
  // A connection stands: "taskd.example:7443", "TLS 1.2 ECDHE-PSK-CHACHA20-POLY1305".
  virtual void Connected(const std::string& address, const std::string& protocol) {}
  // The server is away, and why; tries again at `retry_time`.
  virtual void Disconnected(const absl::Status& why, absl::Time retry_time) {}
  // The device waits for a task that selects it by its labels.
  virtual void Idle() {}
  virtual void Joined(const task::v1::Task& task, const std::string& participant) {}
  // No offer yet, or one put off. `until` is InfiniteFuture when nobody knows.
  virtual void Waiting(const std::string& task, const std::string& reason, absl::Time until) {}
  // Something on this machine keeps the client from taking an offer: a code such as "disk_full" and a sentence. The
  // client looks again at `retry_time`.
  virtual void Hindered(const std::string& task, const std::string& code, const std::string& detail,
                        absl::Time retry_time) {}
  // An update of an earlier process lies undecided at the target; it is rolled back at `until` unless it is confirmed
  // before.
  virtual void Settling(const std::string& task, absl::Time until) {}
  // How the set is put in place: "exchange" or "files"; `why` is a clause that goes on after "because", empty where
  // nothing demands it.
  virtual void MethodChosen(const std::string& task, const std::string& method, const std::string& why) {}
  // Verified. `deadline`: it must be applied before.
  virtual void Offered(const task::v1::Manifest& manifest, absl::Time deadline, bool forced) {}
  // The operator's signature on what is offered is good; called before Offered.
  virtual void OperatorVerified(const std::string& task, const std::string& user, const std::string& device) {}
  // Bytes of content: here already, and in all.
  virtual void Progress(const std::string& task, int64_t bytes, int64_t total) {}
  // All there: bytes that came over the network in this run, and bytes of content that the target had.
  virtual void Fetched(const std::string& task, int64_t received_bytes, int64_t reused_bytes) {}
  virtual void CheckPassed(const std::string& task, absl::Duration duration) {}
  virtual void Applied(const std::string& task, absl::Duration duration) {}
  virtual void Confirmed(const std::string& task, int64_t revision) {}
  // `reason` is a code ("check_failed", "apply_failed", "interrupted", "unconfirmed"), `detail` the last output.
  virtual void RollingBack(const std::string& task, const std::string& reason, const std::string& detail) {}
  virtual void RolledBack(const std::string& task) {}
  virtual void RollbackFailed(const std::string& task, const std::string& detail) {}
  virtual void UpToDate(const std::string& task, int64_t revision) {}
  // Refused by this client: by policy, or because what was offered does not verify.
  virtual void Declined(const std::string& task, const std::string& code, const std::string& detail) {}
  // The task has ended, or this client's part in it; `reason` for INELIGIBLE, CANCELED and TIMED_OUT.
  virtual void Ended(const std::string& task, task::v1::Task::State task_state,
                     task::v1::Participant::State client_state, const std::string& reason) {}
  // RunDevice only, and the next two: the device has its next credential.
  virtual void Renewed(absl::Time not_after) {}
  virtual void RenewalFailed(const absl::Status& why, absl::Time retry_time) {}
  // A task could not be carried out; the others go on.
  virtual void Failed(const std::string& task, const absl::Status& why) {}
};

// How a client's part in a task has ended.
struct Outcome {
  std::string task;
  // CONFIRMED, UP_TO_DATE, INELIGIBLE, DECLINED, ROLLED_BACK, ROLLBACK_FAILED, CANCELED or TIMED_OUT; unspecified
  // when the task ended before anything was offered.
  task::v1::Participant::State state = task::v1::Participant::STATE_UNSPECIFIED;
  task::v1::Task::State task_state = task::v1::Task::STATE_UNSPECIFIED;
  int64_t revision = 0;
  // As Participant.reason and detail.
  std::string reason;
  std::string detail;

  // Whether the offered set is installed.
  bool ok() const {
    return state == task::v1::Participant::STATE_CONFIRMED || state == task::v1::Participant::STATE_UP_TO_DATE;
  }
};

// The host's name as a client's: lower case, [a-z0-9._-], at most 64.
std::string DefaultClientName();

// Blocks until the client's part has ended. A refusal, a rollback and an abort are outcomes; errors are what stopped
// the agent itself. Without `follow` a hindrance is waited for, and is the error when it lasts; one that a person must
// mend is the error at once; the operator is told of either. To call it again after a failure asks for another attempt.
// Reasons: KEY_REFUSED, KEY_EXPIRED, STATE_IN_USE, STATE_MISSING, STATE_CONFLICT, STATE_UNUSABLE (no folder, or not
// this user's alone), TARGET_* (a folder that cannot be updated), FORCED, DRIFTED (what was confirmed is not on the
// disk, and the server does not offer it again), CONNECTION_* (never reached), MANIFEST_*, OPERATOR_*, CHAIN_* and
// those of the payload (also reported to the operator), NO_CHAIN (a signature is required, and nothing to verify it by
// is given), and those of the server.
absl::StatusOr<Outcome> Join(JoinOptions options, Observer* observer);

// Settles what lies undecided at the target, without a server: an update that was interrupted, or was never confirmed.
// Of `options` it uses `into` or `into_file`, `state_dir`, `clock` and `stop`; the journal has the rest. Blocks until
// the update's confirm-timeout is over where there is time left. OK when nothing is undecided and the last rollback
// brought everything back. Errors: TARGET_IN_USE (an agent that runs settles it), ROLLBACK_FAILED (until a server knows
// of it), and what stopped it.
absl::Status Settle(const Options& options, Observer* observer);

// Blocks until stopped (CANCELLED), or until its key ends without a next one (KEY_EXPIRED). A server that is away, or
// that refuses the key, is waited for.
absl::Status RunDevice(DeviceOptions options, Observer* observer);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_AGENT_H_
