// Keeps something in memory in step with a range of the store.
//
// It loads, and then gets every later change in order. When the watch breaks it loads again, so what is loaded must
// merge with what is known.
//
// Threads: all methods may be called from any thread; the callbacks run one at a time.
#ifndef PARLEY_LIB_STORE_FOLLOWER_H_
#define PARLEY_LIB_STORE_FOLLOWER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/mutex.h"
#include "lib/base/timer_queue.h"
#include "lib/store/store.h"

namespace parley::store {

class Follower {
 public:
  // Reads the present state and returns the revision that it read at.
  using Load = std::function<absl::StatusOr<int64_t>()>;
  // Runs on a thread of the store.
  using Apply = std::function<void(const std::vector<Change>&)>;

  // `store`, `clock` and `timers` must outlive this.
  Follower(Store* store, KeyRange range, Load load, Apply apply, Clock* clock, TimerQueue* timers);
  ~Follower();

  // Loads and begins to watch. Returns the errors of `load` and of the store.
  absl::Status Start();
  // Loads now, and watches from there. Whatever was stored before the call has been applied when it returns. Returns
  // the errors of `load` and of the store, and tries again a second later.
  absl::Status ReadAnew();
  // No callback runs afterwards.
  void Stop();

  // Waits until the changes up to this revision have been applied, of which one must be in the range. Returns false if
  // they were not after 5 seconds, because the watch is broken.
  bool WaitFor(int64_t revision);

 private:
  absl::Status Connect() ABSL_EXCLUSIVE_LOCKS_REQUIRED(connecting_);
  void OnChanges(absl::StatusOr<std::vector<Change>> changes, int64_t revision);
  void ReconnectLater(absl::string_view what, const absl::Status& why);

  Store* const store_;
  const KeyRange range_;
  const Load load_;
  const Apply apply_;
  Clock* const clock_;
  TimerQueue* const timers_;
  Mutex mutex_;
  CondVar advanced_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t applied_ ABSL_GUARDED_BY(mutex_) = 0;
  TimerQueue::TimerId retry_ ABSL_GUARDED_BY(mutex_) = 0;
  // This lock is held while the watch is made or ended, which waits for callbacks: a callback must never take it.
  Mutex connecting_;
  std::unique_ptr<Watch> watch_ ABSL_GUARDED_BY(connecting_);
};

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_FOLLOWER_H_
