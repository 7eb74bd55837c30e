// Runs callbacks at their time, on one thread of its own, which sleeps until the earliest of them.
//
// Callbacks run one after another and should be short.
//
// Threads: all methods may be called from any thread, Schedule and Cancel also from a callback.
#ifndef PARLEY_LIB_BASE_TIMER_QUEUE_H_
#define PARLEY_LIB_BASE_TIMER_QUEUE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <thread>
#include <unordered_map>
#include <utility>

#include "absl/time/time.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"

namespace parley {

class TimerQueue {
 public:
  using TimerId = uint64_t;

  // `clock` must outlive the queue.
  explicit TimerQueue(Clock* clock);
  // Calls Stop.
  ~TimerQueue();
  TimerQueue(const TimerQueue&) = delete;
  TimerQueue& operator=(const TimerQueue&) = delete;

  // Runs `callback` at `when`, or at once if that has passed. The id is never 0.
  TimerId Schedule(absl::Time when, std::function<void()> callback);
  // Drops the callbacks that have not run, and those that are scheduled from now on; waits for a callback that is
  // running. Must not be called from a callback. An owner whose callbacks use the queue calls this, so that their
  // pointer to it stays good.
  void Stop();
  // Returns true if the callback will not run, and false if it has run, is running or does not exist.
  bool Cancel(TimerId id);

 private:
  using Key = std::pair<absl::Time, TimerId>;
  void Run();

  Clock* const clock_;
  Mutex mutex_;
  CondVar wake_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  TimerId last_id_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<Key, std::function<void()>> timers_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<TimerId, absl::Time> times_ ABSL_GUARDED_BY(mutex_);
  uint64_t subscription_ = 0;
  std::thread thread_;
};

}  // namespace parley

#endif  // PARLEY_LIB_BASE_TIMER_QUEUE_H_
