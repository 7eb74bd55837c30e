// The member and join keys that taskd has revoked: they are refused at the door, and their connections closed.
//
// The list follows the store, so that a revocation holds in every process that serves it, and after a restart.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_SERVICES_TASKD_PARTICIPANTS_REVOKED_KEYS_H_
#define PARLEY_SERVICES_TASKD_PARTICIPANTS_REVOKED_KEYS_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/store/follower.h"
#include "services/taskd/store/task_store.h"

namespace parley::taskd {

class RevokedKeys {
 public:
  // Refuses a key (16 bytes of serial) from now on and closes its connections. Must not block.
  using Revoke = std::function<void(const std::string& serial, absl::Time not_after)>;

  // All of these must outlive this.
  RevokedKeys(const TaskStore* store, Revoke revoke, Clock* clock, TimerQueue* timers);

  // Puts every revocation so far in force before it returns. Returns the errors of the store.
  absl::Status Start() { return follower_.Start(); }
  void Stop() { follower_.Stop(); }
  // Waits until the revocation that was committed at this revision is in force.
  void WaitFor(int64_t revision) { follower_.WaitFor(revision); }

  // Adds a revocation to a commit. The record goes when the key would have ended anyway. Returns the errors of the
  // store.
  absl::Status Add(absl::string_view serial, absl::Time not_after, store::Transaction* transaction) const;

 private:
  absl::StatusOr<int64_t> Load();
  void Apply(absl::string_view key, absl::string_view value);

  const TaskStore* const store_;
  const Revoke revoke_;
  Clock* const clock_;
  store::Follower follower_;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_PARTICIPANTS_REVOKED_KEYS_H_
