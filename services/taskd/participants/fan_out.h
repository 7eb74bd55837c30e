// Brings what has changed in a task to those of its clients that are connected, some at a time.
//
// A publish concerns thousands of clients at once. The clients of a slice are decided and committed together, and the
// next slice begins once each of them was told. So the calls of others find a worker, the store and the door free in
// between, and what waits to be sent is bounded. A change in the middle begins anew with all clients.
//
// Threads: all methods may be called from any thread and do not block.
#ifndef PARLEY_SERVICES_TASKD_PARTICIPANTS_FAN_OUT_H_
#define PARLEY_SERVICES_TASKD_PARTICIPANTS_FAN_OUT_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/mutex.h"
#include "services/taskd/participants/parts.h"

namespace parley::taskd {

class FanOut {
 public:
  // `parts` must outlive this.
  explicit FanOut(const TaskdParts* parts) : parts_(parts) {}

  // Says that the task has changed. `waves_only` says that it concerns no client that still awaits its wave.
  void Begin(const std::string& task, bool waves_only = false);

 private:
  using Slice = std::vector<Sessions::Entry>;

  void Continue(const std::string& task);
  Slice Next(const std::string& task);
  void Offer(const std::string& task, const Slice& slice, const std::shared_ptr<void>& told) const;

  const TaskdParts* const parts_;
  Mutex mutex_;
  // The clients that are still to be told, by task. A task that is here has a slice under way.
  std::map<std::string, Slice> waiting_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_PARTICIPANTS_FAN_OUT_H_
