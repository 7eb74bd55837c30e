// The credentials that keyd has revoked, for a service that has made keys which hang on them: each is handed on once,
// in order, until what hangs on it has ended.
//
// Threads: all methods may be called from any thread. One thread of its own, which calls what the service gave.
#ifndef PARLEY_LIB_KEYCLIENT_ENDED_CREDENTIALS_H_
#define PARLEY_LIB_KEYCLIENT_ENDED_CREDENTIALS_H_

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"

namespace parley::keyclient {

class EndedCredentials {
 public:
  struct Credential {
    // In hex.
    std::string serial;
    // When it would have ended without a revocation. What hangs on it does not outlive that.
    absl::Time not_after;
  };
  // Ends what hangs on it; called again a second later when that fails. What it has done before may be done once more.
  using End = std::function<absl::Status(const Credential& credential)>;

  // `clock` must outlive this.
  EndedCredentials(Clock* clock, End end);
  ~EndedCredentials();

  // As KeyFollower::OnRevoked. Does not block.
  void OnRevoked(const std::string& serial, absl::Time not_after);
  // Until what hangs on those that were revoked so far has ended. UNAVAILABLE (REVOCATIONS_PENDING) after a minute.
  absl::Status CatchUp();
  // The same for those of these names ("credentials/{serial}"), whose serials it returns, within 5 seconds. UNAVAILABLE
  // (REVOCATION_UNKNOWN) when keyd's word of one has not come; RESOURCE_EXHAUSTED (TOO_MANY_WAIT) when four callers
  // wait already, because each holds a thread; INVALID_ARGUMENT: CREDENTIALS (none, or over 1000), CREDENTIAL_NAME.
  absl::StatusOr<std::vector<std::string>> Await(const google::protobuf::RepeatedPtrField<std::string>& names);
  // Nothing is called afterwards.
  void Stop();

 private:
  struct Known {
    absl::Time not_after;
    bool done = false;
  };
  void Run();
  bool IsDone(const std::string& serial) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Forget() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Clock* const clock_;
  const End end_;
  Mutex mutex_;
  CondVar moved_;
  std::deque<Credential> waiting_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  int callers_ ABSL_GUARDED_BY(mutex_) = 0;
  // By serial in hex.
  std::map<std::string, Known> known_ ABSL_GUARDED_BY(mutex_);
  // How many there may be before it is worth looking for some that are over.
  size_t forget_at_ ABSL_GUARDED_BY(mutex_) = 1024;
  std::thread thread_;
};

}  // namespace parley::keyclient

#endif  // PARLEY_LIB_KEYCLIENT_ENDED_CREDENTIALS_H_
