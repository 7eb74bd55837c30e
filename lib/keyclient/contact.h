// Whether a service hears from keyd, and what becomes of it while it does not: it says so at once and again, and after
// a bound it admits nobody new, as it cannot know who has been revoked since.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_LIB_KEYCLIENT_CONTACT_H_
#define PARLEY_LIB_KEYCLIENT_CONTACT_H_

#include <functional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"

namespace parley::keyclient {

class Contact {
 public:
  enum class State {
    // All that keyd has revoked is known here.
    kFollowing,
    // The service goes on with what it knows.
    kAway,
    // Nobody new is admitted.
    kAwayTooLong,
  };
  // Called when the state changes, one call at a time. Must not call back.
  using OnChange = std::function<void(State)>;

  // `clock` must outlive this. An infinite limit is none.
  Contact(absl::Duration limit, Clock* clock, OnChange on_change);

  // The service is up to date, and will hear of every change.
  void Established();
  // It is not any more, or could not become so, for this reason. Said in the log when it is news, and every ten
  // minutes.
  void Failed(const absl::Status& why);

  // UNAVAILABLE (KEYD_AWAY) once the limit has passed. For the door, in the middle of a handshake: answers from memory.
  absl::Status CheckAdmits() const;
  // When the service was last up to date.
  absl::Time last() const;

 private:
  bool PastLimit() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Enter(State state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const absl::Duration limit_;
  Clock* const clock_;
  const OnChange on_change_;
  mutable Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kAway;
  bool ever_ ABSL_GUARDED_BY(mutex_) = false;
  // While it is away.
  absl::Time last_ ABSL_GUARDED_BY(mutex_);
  absl::Time said_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
};

}  // namespace parley::keyclient

#endif  // PARLEY_LIB_KEYCLIENT_CONTACT_H_
