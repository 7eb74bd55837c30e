// Limits how often a client may declare. A client that declares as fast as it can is answered more slowly, so that it
// cannot fill the store; it is not refused, because it may be honest.
//
// Guarantees: kBurst declarations of one client are let through at once, and one in each kInterval beyond them, on
// whatever streams they come. A client that has kept to the pace again is forgotten.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_SERVICES_TASKD_PARTICIPANTS_DECLARE_PACE_H_
#define PARLEY_SERVICES_TASKD_PARTICIPANTS_DECLARE_PACE_H_

#include <string>
#include <unordered_map>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"

namespace parley::taskd {

class DeclarePace {
 public:
  static constexpr int kBurst = 20;
  static constexpr absl::Duration kInterval = absl::Seconds(1);
  // No declaration waits longer, however many came before it.
  static constexpr absl::Duration kMaxWait = absl::Minutes(1);

  // `clock` must outlive this.
  explicit DeclarePace(Clock* clock) : clock_(clock) {}

  // Counts declarations of a client. Returns how long they are to wait.
  absl::Duration Count(absl::string_view task, absl::string_view client, int declarations);

 private:
  Clock* const clock_;
  Mutex mutex_;
  // By task and client: the time until which its declarations are paid for. Times that have passed are dropped when the
  // map has grown to twice the size that it had after the last sweep.
  std::unordered_map<std::string, absl::Time> paid_until_ ABSL_GUARDED_BY(mutex_);
  size_t sweep_at_ ABSL_GUARDED_BY(mutex_) = 64;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_PARTICIPANTS_DECLARE_PACE_H_
