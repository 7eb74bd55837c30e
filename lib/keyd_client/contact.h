// Knows whether a service hears from keyd. While it does not, it says so in the log, at once and repeatedly, and after
// a limit it admits nobody, because it cannot know who has been revoked since.
//
// The limit is the length of the lease that the service has at keyd, which waits for no longer before a revocation is
// acknowledged. It is counted from before the lease was asked for, by a clock that nobody sets.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_LIB_KEYD_CLIENT_CONTACT_H_
#define PARLEY_LIB_KEYD_CLIENT_CONTACT_H_

#include <functional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"

namespace parley::keyd_client {

class Contact {
 public:
  enum class State {
    // The service knows everything that keyd has revoked.
    kFollowing,
    // The service goes on with what it knows.
    kAway,
    // The service admits nobody.
    kAwayTooLong,
  };
  // Called when the state changes, one call at a time. Must not call back.
  using OnChange = std::function<void(State)>;

  using Steady = std::function<absl::Duration()>;
  // `clock` must outlive this. An infinite limit means none.
  Contact(absl::Duration limit, Clock* clock, Steady steady, OnChange on_change);

  // Says that the service is up to date, and will hear of every change. Without a lease, which is how a keyd of an
  // earlier version has it, the limit begins when it is no longer so.
  void Established();
  // Says that the service is up to date and holds a lease, which was asked for at `asked` of the steady clock.
  void Renewed(absl::Duration asked);
  // Says that the service is no longer up to date, or could not become so, and why. This is logged when it is new, and
  // every ten minutes.
  void Failed(const absl::Status& why);

  // Returns UNAVAILABLE (KEYD_AWAY) once the limit has passed. The door calls this in the middle of a handshake, and
  // the gate for each call, so it answers from memory.
  absl::Status CheckAdmits() const;
  // Returns how long the service still admits, if it hears nothing more.
  absl::Duration left() const;
  // Returns when the service was last up to date.
  absl::Time last() const;

 private:
  bool PastLimit() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Enter(State state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const absl::Duration limit_;
  Clock* const clock_;
  const Steady steady_;
  const OnChange on_change_;
  mutable Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kAway;
  bool leased_ ABSL_GUARDED_BY(mutex_) = false;
  // When the limit is over, by the steady clock.
  absl::Duration until_ ABSL_GUARDED_BY(mutex_);
  bool ever_ ABSL_GUARDED_BY(mutex_) = false;
  // When the service was last up to date, while keyd is away.
  absl::Time last_ ABSL_GUARDED_BY(mutex_);
  absl::Time said_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
};

}  // namespace parley::keyd_client

#endif  // PARLEY_LIB_KEYD_CLIENT_CONTACT_H_
