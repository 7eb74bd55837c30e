// Tells Prometheus how many tasks and clients there are, by state.
#ifndef PARLEY_SERVICES_TASKD_SERVICE_METRICS_H_
#define PARLEY_SERVICES_TASKD_SERVICE_METRICS_H_

#include <vector>

#include "lib/rpc/metrics.h"
#include "services/taskd/store/task_index.h"

namespace parley::taskd {

// Returns parley_tasks and parley_task_clients, of the tasks that are not settled. Both arguments must outlive what is
// returned.
std::vector<rpc::Metrics::Source> TaskMetrics(const TaskIndex* task_index, rpc::Metrics* metrics);

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_SERVICE_METRICS_H_
