// How many tasks and clients there are, by state, for Prometheus.
#ifndef PARLEY_SERVICES_TASKD_SERVICE_FIGURES_H_
#define PARLEY_SERVICES_TASKD_SERVICE_FIGURES_H_

#include <vector>

#include "lib/rpc/metrics.h"
#include "services/taskd/service/board.h"

namespace parley::taskd {

// parley_tasks and parley_task_clients, of the tasks that are not settled. Both must outlive what is returned.
std::vector<rpc::Metrics::Source> CountBoard(const Board* board, rpc::Metrics* metrics);

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_SERVICE_FIGURES_H_
