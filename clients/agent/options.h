// What Join and RunDevice are told: where the set goes, what to answer to offers, and how long to wait for what.
//
// Threads: plain data. `chain` and `renew` say on which threads they are called.
#ifndef PARLEY_CLIENTS_AGENT_OPTIONS_H_
#define PARLEY_CLIENTS_AGENT_OPTIONS_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "clients/agent/boot_clock.h"
#include "clients/agent/hooks.h"
#include "clients/agent/method.h"
#include "lib/base/clock.h"
#include "lib/keys/credential.h"
#include "lib/keys/join_key.h"
#include "lib/trust/chain.h"

namespace parley::agent {

class Cancellation;

// A span of time in which a client applies; `end` is the first moment after it.
struct Window {
  absl::Time start;
  absl::Time end;
};

// What to answer to an offer. The default accepts every offer at once.
struct Policy {
  // Offers are put off until then, as often as the task allows it.
  absl::Time defer_until = absl::InfinitePast();
  std::string defer_reason;
  // Every offer is refused, with this sentence for the operator. If the task is forced, Join then ends with an error.
  std::optional<std::string> decline;
  // The client applies only within one of these windows, and at any time when there are none.
  std::vector<Window> windows;
};

// What Join and RunDevice have in common.
struct Options {
  // The folder for keys, progress and partial transfers; it is made with mode 0700.
  std::string state_dir;
  // The folder that the payload is laid over; it is made when missing. "{task}" in it stands for the task's id.
  std::string into;
  // The file that a payload of one file becomes, in place of `into`. "{task}" stands for the task's id here too.
  std::string into_file;
  Method method = Method::kAutomatic;
  // The host:port at which the server is reached in place of the address in the key. It is remembered.
  std::string server;
  Hooks hooks;
  Policy policy;
  // What the machine says of itself. "os", "arch" and "host" are filled in when absent.
  std::map<std::string, std::string> facts;
  // Fetches an enrolled device's chain of trust as it is now, verified up to the root that the device believes, and
  // never an older one than the device has seen. A manifest with an operator's signature is then applied only when the
  // signature is good (lib/trust), both when it is offered and at the last moment before it is applied. It is called on
  // several threads, one call at a time for each task; an error that passes is waited for. Signatures are not looked at
  // without it.
  std::function<absl::StatusOr<std::shared_ptr<const trust::Chain>>()> chain;
  // Only what an operator has signed is applied. It needs `chain`.
  bool require_operator_signature = false;
  // How long the client tries to confirm over a fresh connection before it rolls back, so that a configuration that
  // cuts the machine off heals itself. It must be below the task's apply lease (15 minutes).
  absl::Duration confirm_timeout = absl::Minutes(10);
  // The average pauses between attempts to reach a server that is away: the first, which doubles up to the second. Each
  // is drawn at random from nothing to twice its length, so that clients that lost the server together do not come back
  // together.
  absl::Duration min_backoff = absl::Milliseconds(250);
  absl::Duration max_backoff = absl::Seconds(30);
  // How long Join without `follow` tries to reach a server that it has never reached. A server that goes away later is
  // waited for as long as the key lives, and a client that stays waits for ever.
  absl::Duration connect_timeout = absl::Seconds(20);
  // Both clocks must outlive the call. The second measures how long an update is undecided.
  Clock* clock = Clock::System();
  BootClock* boot_clock = BootClock::System();
  // How long Join without `follow` waits for a hindrance to pass: a full disk, a wrong clock, a target that is in use.
  absl::Duration hindrance_timeout = absl::Minutes(2);
  // The average pauses between two checks whether a hindrance has passed; they grow and vary as those above do.
  absl::Duration min_recheck = absl::Seconds(1);
  absl::Duration max_recheck = absl::Seconds(30);
  // When given, it ends the call with CANCELLED at the next safe moment. It must outlive the call.
  Cancellation* cancellation = nullptr;
};

struct JoinOptions : Options {
  // Without a key, Join goes on with a task that was joined before from state_dir.
  std::optional<keys::JoinKey> key;
  // The id of the task in state_dir to go on with; when it is empty, the only one there. It is not used with a key.
  std::string task;
  // The client's name within the task; DefaultClientName() when empty.
  std::string client_name;
  // The client stays for later revisions until the task ends, and does not return after the first that ends for it.
  bool follow = false;
};

struct DeviceOptions : Options {
  // The credential of a device.
  keys::Credential credential;
  // Gets the next credential from keyd and stores it for the next start; it blocks. RunDevice calls it on one thread
  // when about two thirds of the credential's remaining life are over, and again after a failure until the credential
  // has ended. Without it, RunDevice ends with its credential.
  std::function<absl::StatusOr<keys::Credential>()> renew;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_OPTIONS_H_
