// Does what time and counts demand: starts, halts, completes and expires tasks, ends the clients of those that ended,
// and ends leases.
//
// All of it is idempotent: it may stop anywhere, and goes on after a restart, because every task that is not settled is
// looked at again then. With several replicas, only the one that leads looks at tasks.
//
// Threads: all methods may be called from any thread; they hand the work to the pool.
#ifndef PARLEY_SERVICES_TASKD_TASKS_LIFECYCLE_H_
#define PARLEY_SERVICES_TASKD_TASKS_LIFECYCLE_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <string>

#include "lib/base/mutex.h"
#include "services/taskd/participants/parts.h"
#include "services/taskd/tasks/clock_jumps.h"

namespace parley::taskd {

class Lifecycle {
 public:
  // Both must outlive this.
  Lifecycle(const TaskdParts* parts, ClockJumps* jumps) : parts_(parts), jumps_(jumps) {}

  // Looks at the task soon. Further calls meanwhile make it look once more afterwards.
  void Reevaluate(const std::string& task);
  // Ends the clients of a task that has ended, but for those that are applying, and settles it if none is left. It need
  // not lead. Blocks. Returns the errors of the store.
  absl::Status Settle(const std::string& task);
  // Ends the lease or the session of a client, by this event, soon.
  void ApplyEvent(const std::string& task, const std::string& client, Event::Kind kind, int64_t version);
  // Begins nothing any more.
  void Stop();
  bool Leads() const { return parts_->leader == nullptr || parts_->leader->leads(); }
  // Returns how often this process has looked at a task, and how many ends of leases and sessions it has applied.
  int64_t looks() const { return looks_; }
  int64_t ends() const { return ends_; }

 private:
  void Work(const std::string& task);
  absl::Status LookOnce(const std::string& task);
  absl::Status OpenNextWave(const std::string& task);
  absl::Status Change(const TaskSnapshot& task, const TaskRecord& next);
  void RecordChange(const TaskRecord& former, const TaskRecord& next) const;
  absl::Status EndParticipants(const TaskSnapshot& task);
  void RetryLater(absl::Duration after, std::function<void()> work);

  const TaskdParts* const parts_;
  ClockJumps* const jumps_;
  std::atomic<int64_t> looks_ = 0;
  std::atomic<int64_t> ends_ = 0;
  Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  // Tasks that are being looked at; true means once more.
  std::map<std::string, bool> looking_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_TASKS_LIFECYCLE_H_
