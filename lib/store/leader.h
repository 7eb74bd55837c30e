// Chooses one of the processes that serve from one store, for work that is to be done once: timers, settling, sweeping.
//
// The one that leads has an entry in the store, under its lease; when that ends, another one takes its place. A process
// that has just lost its place may still be at work on something, so this saves work and does not exclude anybody:
// what the leader does must be right when two do it, as a commit with conditions is.
//
// Threads: all methods may be called from any thread. `on_change` runs on threads of the store and of Replicas, one
// call at a time.
#ifndef PARLEY_LIB_STORE_LEADER_H_
#define PARLEY_LIB_STORE_LEADER_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/base/timer_queue.h"
#include "lib/store/follower.h"
#include "lib/store/replicas.h"
#include "lib/store/store.h"

namespace parley::store {

class Leader {
 public:
  struct Options {
    // All of these must outlive this.
    Store* store = nullptr;
    const Replicas* replicas = nullptr;
    Clock* clock = nullptr;
    TimerQueue* timers = nullptr;
    // The entry that the leader has.
    std::string key;
    // Runs work that blocks on the store.
    std::function<void(std::function<void()> work)> run;
    // This process has begun to lead, or leads no more. Must not block.
    std::function<void(bool leads)> on_change;
  };

  explicit Leader(Options options);

  // Finds out who leads, and tries to if nobody does. Returns the errors of the store.
  absl::Status Start() { return follower_.Start(); }
  // No callback runs afterwards, once the work that was given to `run` is over.
  void Stop();
  bool leads() const;
  // Says what Replicas::Options::on_change says.
  void OnLease(bool held);
  // Reads who leads as it is stored now. Returns the errors of the store.
  absl::Status ReadAnew() { return follower_.ReadAnew(); }

 private:
  absl::StatusOr<int64_t> Load();
  // `name` is empty if nobody leads.
  void Observe(absl::string_view name, int64_t revision);
  void Tell();
  void Claim();

  const Options options_;
  mutable Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  bool held_ ABSL_GUARDED_BY(mutex_) = true;
  std::string name_ ABSL_GUARDED_BY(mutex_);
  int64_t seen_ ABSL_GUARDED_BY(mutex_) = 0;
  // This lock is held while on_change runs, and is taken before the other one.
  Mutex telling_;
  bool told_ ABSL_GUARDED_BY(telling_) = false;
  Follower follower_;
};

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_LEADER_H_
