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
#include "lib/keyd_client/device_labels.h"
#include "lib/rpc/worker_pool.h"
#include "services/taskd/participants/sessions.h"
#include "services/taskd/store/participant_updater.h"

namespace parley::taskd {

class FanOut {
 public:
  // All of these must outlive this, and this must outlive the work of `workers`.
  FanOut(const Sessions* sessions, const ParticipantUpdater* updater, const keyd_client::DeviceLabels* labels,
         rpc::WorkerPool* workers)
      : sessions_(sessions), updater_(updater), labels_(labels), workers_(workers) {}

  // Says that the task has changed.
  void Begin(const std::string& task);

 private:
  using Slice = std::vector<Sessions::Entry>;

  void Continue(const std::string& task);
  Slice Next(const std::string& task);
  void Offer(const std::string& task, const Slice& slice, const std::shared_ptr<void>& told) const;

  const Sessions* const sessions_;
  const ParticipantUpdater* const updater_;
  const keyd_client::DeviceLabels* const labels_;
  rpc::WorkerPool* const workers_;
  Mutex mutex_;
  // The clients that are still to be told, by task. A task that is here has a slice under way.
  std::map<std::string, Slice> waiting_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_PARTICIPANTS_FAN_OUT_H_
