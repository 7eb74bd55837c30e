// Notices by a clock that nobody can set when the clock was set forward.
//
// A task lasts as long as its operator said. Somebody who sets the server's clock ahead, or a time service that does,
// must not end every task at once: tasks that were there before go by the time that has passed. A clock that is set
// back again is believed at once, and so is every clock at the start of the service.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_SERVICES_TASKD_TASKS_CLOCK_JUMPS_H_
#define PARLEY_SERVICES_TASKD_TASKS_CLOCK_JUMPS_H_

#include <functional>

#include "absl/time/time.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"

namespace parley::taskd {

class ClockJumps {
 public:
  // Returns the time that passes, whatever becomes of the clock. Without it no jump is noticed.
  using Steady = std::function<absl::Duration()>;

  // `clock` must outlive this.
  ClockJumps(const Clock* clock, Steady steady);

  // Returns the time for what began at `since`: that of the clock, less what it has jumped ahead meanwhile. Looks for a
  // jump first, and says in the log if there was one.
  absl::Time Now(absl::Time since);
  // Returns how far the clock is ahead of the time that has passed.
  absl::Duration ahead();

 private:
  void Reevaluate() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Clock* const clock_;
  const Steady steady_;
  Mutex mutex_;
  // What the clock showed when the steady one showed 0, by the last look.
  absl::Time base_ ABSL_GUARDED_BY(mutex_);
  absl::Duration ahead_ ABSL_GUARDED_BY(mutex_);
  // What the clock showed at the last look before the latest jump: what began later has seen none.
  absl::Time before_jump_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  absl::Time last_look_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_TASKS_CLOCK_JUMPS_H_
