// The credentials that keyd has revoked, for a service that has made keys which depend on them. Each credential is
// handed on once, in order, until what depends on it has ended.
//
// Threads: all methods may be called from any thread. There is one thread of its own, which calls what the service
// gave.
#ifndef PARLEY_LIB_KEYD_CLIENT_ENDED_CREDENTIALS_H_
#define PARLEY_LIB_KEYD_CLIENT_ENDED_CREDENTIALS_H_

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

namespace parley::keyd_client {

class EndedCredentials {
 public:
  struct Credential {
    // The serial in hex.
    std::string serial;
    // When the credential would have ended without a revocation. What depends on it does not outlive that.
    absl::Time not_after;

    // Returns for how long the service keeps a note that the credential was revoked: an hour beyond its end, because
    // clocks differ.
    absl::Duration NoteLifetime(absl::Time now) const;
  };
  // Ends what depends on the credential. After a failure it is called again a second later, and so may repeat what it
  // has done before.
  using End = std::function<absl::Status(const Credential& credential)>;

  // `clock` must outlive this.
  EndedCredentials(Clock* clock, End end);
  ~EndedCredentials();

  // Has the signature of KeyFollower::OnRevoked. Does not block.
  void OnRevoked(const std::string& serial, absl::Time not_after);
  // Waits until what depends on the credentials that were revoked so far has ended. Returns UNAVAILABLE
  // (REVOCATIONS_PENDING) after a minute.
  absl::Status CatchUp();
  // Waits in the same way for the credentials of these names ("credentials/{serial}"), for at most 5 seconds, and
  // returns their serials. Returns UNAVAILABLE (REVOCATION_UNKNOWN) if keyd has not told of one yet; RESOURCE_EXHAUSTED
  // (TOO_MANY_WAIT) if four callers wait already, because each holds a thread; INVALID_ARGUMENT: CREDENTIALS for none
  // or over 1000, CREDENTIAL_NAME.
  absl::StatusOr<std::vector<std::string>> Await(const google::protobuf::RepeatedPtrField<std::string>& names);
  // Ends the thread: `end` is not called afterwards.
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
  // The number of credentials from which it is worth looking for some that are over.
  size_t forget_at_ ABSL_GUARDED_BY(mutex_) = 1024;
  std::thread thread_;
};

}  // namespace parley::keyd_client

#endif  // PARLEY_LIB_KEYD_CLIENT_ENDED_CREDENTIALS_H_
