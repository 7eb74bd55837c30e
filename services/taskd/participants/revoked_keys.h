// The member and join keys that taskd has revoked: they are refused at the door, and their connections closed.
//
// The list follows the store, so that a revocation holds in every replica that serves it, and after a restart.
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
#include "lib/store/replicas.h"
#include "services/taskd/store/task_store.h"

namespace parley::taskd {

class RevokedKeys {
 public:
  // Refuses a key (16 bytes of serial) from now on and closes its connections. Must not block.
  using Revoke = std::function<void(const std::string& serial, absl::Time not_after)>;

  // All of these must outlive this. `replicas` is null in a process that is alone.
  RevokedKeys(const TaskStore* store, store::Replicas* replicas, Revoke revoke, Clock* clock, TimerQueue* timers);

  // Puts every revocation so far in force before it returns. Returns the errors of the store.
  absl::Status Start() { return follower_.Start(); }
  void Stop() { follower_.Stop(); }
  // Reads every revocation as it is stored now, and puts it in force. Returns the errors of the store.
  absl::Status ReadAnew() { return follower_.ReadAnew(); }
  // Waits until the revocation that was committed at this revision is in force in every replica: none admits the key
  // any more. Blocks. Returns UNAVAILABLE: STORE_BEHIND, and the errors of Replicas::Await.
  absl::Status Await(int64_t revision);
  // Does so for all revocations so far. Returns the errors of the store too.
  absl::Status AwaitAll();

  // Adds a revocation to a commit. The record goes when the key would have ended anyway. Returns the errors of the
  // store.
  absl::Status Add(absl::string_view serial, absl::Time not_after, store::Transaction* transaction) const;

 private:
  absl::StatusOr<int64_t> Load();
  void Apply(absl::string_view key, absl::string_view value);

  const TaskStore* const store_;
  store::Replicas* const replicas_;
  const Revoke revoke_;
  Clock* const clock_;
  store::Follower follower_;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_PARTICIPANTS_REVOKED_KEYS_H_
