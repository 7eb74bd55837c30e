// Becoming a member of a task: the call of Join, made so that a crash at any moment can repeat it.
#ifndef PARLEY_CLIENTS_AGENT_MEMBER_H_
#define PARLEY_CLIENTS_AGENT_MEMBER_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "clients/agent/agent.h"
#include "clients/agent/cancellation.h"
#include "clients/agent/task_state.h"
#include "lib/base/secret.h"
#include "lib/transport/grpc_door.h"

namespace parley::agent {

// With what a client may enter a task.
struct Entry {
  // Id.
  std::string task;
  // Folder that is updated, resolved.
  std::string target;
  // Name within the task; the host's when empty.
  std::string client;
  std::string address;
  // A join key's or a device's; empty to go on with a membership from before.
  std::string identity;
  Secret secret;
  absl::Time not_after = absl::InfiniteFuture();
  // Empty: the one that the task has when it is first seen is kept.
  std::string verification_key;
  bool device = false;
  // Stay for later revisions.
  bool follow = false;
};

// Calls an observer's methods, one at a time.
class Announcer {
 public:
  Announcer(Observer* observer, Mutex* mutex) : observer_(observer), mutex_(mutex) {}
  template <typename Call>
  void operator()(Call call) const {
    MutexLock lock(mutex_);
    if (observer_ != nullptr) call(observer_);
  }

 private:
  Observer* const observer_;
  Mutex* const mutex_;
};

// Makes state->membership() one with a key, by joining unless it has one. The nonce is durable before the call.
// STATE_MISSING (neither key nor membership), STATE_CONFLICT (the folder is another client's, or another task's of the
// same name), KEY_EXPIRED, those of Join and of the connection.
absl::Status EnsureMember(const Options& options, const Entry& entry, TaskState* state, const Announcer& announce,
                          Cancellation* cancellation);

// A new connection under the member key.
absl::StatusOr<std::unique_ptr<transport::Channel>> ConnectAsMember(const Membership& membership, Clock* clock);
absl::StatusOr<std::unique_ptr<transport::Channel>> Connect(const std::string& address, const std::string& identity,
                                                            const Secret& secret, absl::Time not_after, Clock* clock);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_MEMBER_H_
