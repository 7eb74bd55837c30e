// The call of Join, which makes a client a member of a task, made so that it can be repeated after a crash at any
// moment.
//
// Threads: TaskMember is not thread-safe; the functions and Announcer may be used by any thread.
#ifndef PARLEY_CLIENTS_AGENT_TASK_MEMBER_H_
#define PARLEY_CLIENTS_AGENT_TASK_MEMBER_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "clients/agent/cancellation.h"
#include "clients/agent/events.h"
#include "clients/agent/faults.h"
#include "clients/agent/options.h"
#include "clients/agent/task_state.h"
#include "lib/base/mutex.h"
#include "lib/base/secret.h"
#include "lib/transport/channel.h"
#include "parley/task/v1/participation_service.pb.h"

namespace parley::agent {

// What a client may enter a task with.
struct JoinCredentials {
  // The id of the task.
  std::string task;
  // The client's name within the task; the host's when empty.
  std::string client;
  std::string address;
  // The identity of a join key or a device; empty to go on with a membership from before.
  std::string identity;
  Secret secret;
  absl::Time not_after = absl::InfiniteFuture();
  // When it is empty, the key that the task has when it is first seen is remembered.
  std::string verification_key;
  bool device = false;
  // The client stays for later revisions.
  bool follow = false;
};

// Tells an observer of events, one at a time.
class Announcer {
 public:
  Announcer(Observer* observer, Mutex* mutex) : observer_(observer), mutex_(mutex) {}
  void operator()(const Event& event) const {
    MutexLock lock(mutex_);
    if (observer_ != nullptr) observer_->OnEvent(event);
  }

 private:
  Observer* const observer_;
  Mutex* const mutex_;
};

// The membership of one client in one task.
class TaskMember {
 public:
  // All must outlive it.
  TaskMember(const Options* options, const JoinCredentials* credentials, TaskState* state, const Announcer* announce,
             Cancellation* cancellation)
      : options_(*options),
        credentials_(*credentials),
        state_(state),
        announce_(*announce),
        cancellation_(cancellation) {}

  // Joins, unless the state has a membership with a key already. The nonce is durable before the call. Errors:
  // STATE_MISSING (neither key nor membership), STATE_CONFLICT (the folder is another client's, or another task's of
  // the same name), KEY_EXPIRED, ADDRESS_INVALID, those of Join and of the connection.
  absl::Status Ensure();

  // Joins anew under the same name with another nonce, for a server that does not know the membership any more; what
  // was there before stays until the server has answered. It returns the errors of Ensure.
  absl::Status JoinAnew();
  // Returns whether this process has met the server.
  bool met() const { return met_; }
  // Returns whether there is a key to join anew by.
  bool can_join_anew() const { return !credentials_.identity.empty(); }

  // Records which folder the client updates, which was given as the path `given`. Returns STATE_CONFLICT when it was
  // another one before.
  absl::Status SetTarget(const std::string& target, const std::string& given);

 private:
  absl::Status CheckStored() const;
  absl::Status Move();
  absl::Status PrepareNonce(bool anew);
  absl::Status JoinWith(std::string nonce);
  absl::Status Call(const std::string& nonce, Retry* retry, task::v1::JoinResponse* response);
  absl::Status Store(const std::string& nonce, task::v1::JoinResponse* response);
  std::string address() const;

  const Options& options_;
  const JoinCredentials& credentials_;
  TaskState* const state_;
  const Announcer& announce_;
  Cancellation* const cancellation_;
  bool met_ = false;
};

// Makes a connection under the member key. A key that has ended by this machine's clock is tried all the same, because
// the clock may be wrong; the server judges. Returns the errors of transport::Channel::Create.
absl::StatusOr<std::unique_ptr<transport::Channel>> ConnectAsMember(const Membership& membership, Clock* clock,
                                                                    absl::Duration timeout = absl::InfiniteDuration());
// Makes a connection under another key in the same way, with the same errors.
absl::StatusOr<std::unique_ptr<transport::Channel>> Connect(const std::string& address, const std::string& identity,
                                                            const Secret& secret, Clock* clock,
                                                            absl::Duration timeout = absl::InfiniteDuration());

// Returns the same error, or KEY_EXPIRED in place of KEY_REFUSED for a key that has ended by this machine's clock too.
absl::Status ExplainKey(const absl::Status& status, absl::Time not_after, Clock* clock);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_TASK_MEMBER_H_
