#include "services/taskd/service/metrics.h"

#include <map>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/strip.h"
#include "services/taskd/domain/names.h"

namespace parley::taskd {
namespace {

using rpc::Metrics;
using task::v1::Task;

// States that are there with 0, so that a query finds a series before the first task.
constexpr Task::State kUnsettled[] = {Task::STATE_SCHEDULED, Task::STATE_OPEN, Task::STATE_PAUSED, Task::STATE_HALTED};

std::string StateName(Task::State state) {
  const std::string name = Task::State_Name(state);
  return absl::AsciiStrToLower(absl::StripPrefix(name, "STATE_"));
}

std::vector<Metrics::Sample> ByState(const std::map<std::string, int64_t>& counts) {
  std::vector<Metrics::Sample> samples;
  for (const auto& [state, count] : counts) samples.push_back({{{"state", state}}, static_cast<double>(count)});
  return samples;
}

std::vector<Metrics::Sample> Tasks(const TaskIndex& task_index) {
  std::map<std::string, int64_t> counts;
  for (const Task::State state : kUnsettled) counts[StateName(state)] = 0;
  for (const TaskSnapshot& task : task_index.Tasks()) ++counts[StateName(task->value.task().state())];
  return ByState(counts);
}

// The names of task.v1.Counts.
std::vector<Metrics::Sample> Clients(const TaskIndex& task_index) {
  const auto* const descriptor = task::v1::Counts::descriptor();
  std::map<std::string, int64_t> sums;
  for (int i = 0; i < descriptor->field_count(); ++i) {
    if (descriptor->field(i)->name() != "joined") sums[descriptor->field(i)->name()] = 0;
  }
  for (const TaskSnapshot& task : task_index.Tasks()) {
    const task::v1::Counts counts =
        task_index.TallyOf(*ParseTaskName(task->value.task().name())).value_or(Tally()).counts;
    for (auto& [name, sum] : sums) sum += counts.GetReflection()->GetInt32(counts, descriptor->FindFieldByName(name));
  }
  return ByState(sums);
}

}  // namespace

std::vector<Metrics::Source> TaskMetrics(const TaskIndex* task_index, Metrics* metrics) {
  return {metrics->Add("parley_tasks", "Tasks that are not settled, by state.", Metrics::Kind::kGauge,
                       [task_index] { return Tasks(*task_index); }),
          metrics->Add("parley_task_clients", "Clients of tasks that are not settled, by where they stand.",
                       Metrics::Kind::kGauge, [task_index] { return Clients(*task_index); })};
}

}  // namespace parley::taskd
