// Removes what nobody needs any more: tasks that ended long ago, what is left of those that were deleted, and payload
// content that no revision names.
//
// All of it may stop anywhere and goes on later. With several replicas, only the one that leads does it.
//
// Threads: all methods may be called from any thread; they hand the work to the pool, where one at a time runs.
#ifndef PARLEY_SERVICES_TASKD_TASKS_UPKEEP_H_
#define PARLEY_SERVICES_TASKD_TASKS_UPKEEP_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/mutex.h"
#include "lib/store/follower.h"
#include "services/taskd/participants/parts.h"
#include "services/taskd/tasks/clock_jumps.h"

namespace parley::taskd {

class Upkeep {
 public:
  // All of these must outlive this. A task is deleted this long after its end; never, if the time is infinite.
  Upkeep(const TaskdParts* parts, ClockJumps* jumps, absl::Duration retention);

  // Follows which tasks are deleted, and looks at everything once an hour. Returns the errors of the store.
  absl::Status Start();
  // Begins nothing any more.
  void Stop();
  // Reads which tasks are deleted as it is stored now. Returns the errors of the store.
  absl::Status ReadAnew() { return deleted_.ReadAnew(); }
  // Looks soon whether something is to be done. Further calls meanwhile make it look once more afterwards.
  void Wake();

  // Return how many tasks and chunks this process has removed.
  int64_t tasks() const { return tasks_; }
  int64_t chunks() const { return chunks_; }

 private:
  bool Goes() const;
  void Work();
  void WakeLater(absl::Duration after);
  absl::Status LookOnce();
  // Deletes the tasks that ended long ago.
  absl::Status DeleteOld();
  absl::Status DeleteIfOld(const std::string& task);
  absl::Status FinishRemovals();
  absl::Status SweepChunks();

  const TaskdParts* const parts_;
  ClockJumps* const jumps_;
  const absl::Duration retention_;
  std::atomic<int64_t> tasks_ = 0;
  std::atomic<int64_t> chunks_ = 0;
  mutable Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  bool working_ ABSL_GUARDED_BY(mutex_) = false;
  bool again_ ABSL_GUARDED_BY(mutex_) = false;
  // This belongs to whoever works.
  absl::Time next_sweep_;
  store::Follower deleted_;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_TASKS_UPKEEP_H_
