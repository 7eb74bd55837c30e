#include "services/taskd/domain/task.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/task/states.h"
#include "services/taskd/domain/counts.h"
#include "services/taskd/domain/rollout.h"

namespace parley::taskd {
namespace {

using task::v1::Counts;
using task::v1::Task;

TaskRecord End(const TaskRecord& task, Task::State state, absl::Time now) {
  TaskRecord ended = task;
  ended.mutable_task()->set_state(state);
  *ended.mutable_end_time() = ToProto(now);
  return ended;
}

// Whether a client has ended without the revision: by a failure, a refusal, or because it cannot take part. One that an
// operator took out does not count.
bool Failed(const Counts& counts) { return FailuresAtEnd(counts) + counts.declined() + counts.ineligible() > 0; }

// Parley has stopped the task, not an operator.
bool IsStopped(const TaskRecord& task) {
  return task.task().state() == Task::STATE_HALTED ||
         (task.task().state() == Task::STATE_PAUSED && !task.end_reason().empty());
}

void GoOn(TaskRecord* task, absl::Time now) {
  task->mutable_task()->set_state(now < ToTime(task->task().start_time()) ? Task::STATE_SCHEDULED : Task::STATE_OPEN);
  task->clear_end_reason();
  task->clear_paused();
}

}  // namespace

absl::string_view EndReason(Task::State state) {
  switch (state) {
    case Task::STATE_ABORTED:
      return "task_aborted";
    case Task::STATE_SUPERSEDED:
      return "task_superseded";
    default:
      return "task_completed";
  }
}

absl::Status CheckNotEnded(const TaskRecord& task) {
  if (!task::HasEnded(task.task().state())) return absl::OkStatus();
  return Error(
      absl::StatusCode::kFailedPrecondition, "TASK_ENDED",
      absl::StrCat(task.task().name(), " ended at ", ShowTime(ToTime(task.end_time())), " (",
                   Task::State_Name(task.task().state()).substr(sizeof("STATE_") - 1), "); create another task"));
}

absl::Status CheckDeletable(const TaskRecord& task) {
  if (task.settled()) return absl::OkStatus();
  const std::string& name = task.task().name();
  if (task::HasEnded(task.task().state())) {
    return FailedPrecondition("TASK_NOT_ENDED", name,
                              " has ended, but clients of it are still at work; delete it when they have ended too");
  }
  return FailedPrecondition("TASK_NOT_ENDED", name, " has not ended; abort it before you delete it");
}

absl::StatusOr<bool> Pause(TaskRecord* task) {
  RETURN_IF_ERROR(CheckNotEnded(*task));
  const bool stopped = IsStopped(*task);
  if (stopped ? task->paused() : task->task().state() == Task::STATE_PAUSED) return false;
  if (stopped) {
    task->set_paused(true);
  } else {
    task->mutable_task()->set_state(Task::STATE_PAUSED);
  }
  return true;
}

absl::StatusOr<bool> Resume(TaskRecord* task, absl::Time now) {
  RETURN_IF_ERROR(CheckNotEnded(*task));
  const Task::State state = task->task().state();
  if (state != Task::STATE_PAUSED && state != Task::STATE_HALTED) return false;
  GoOn(task, now);
  return true;
}

void BeginRevision(TaskRecord* task, absl::Time now) {
  if (!IsStopped(*task)) return;
  const bool paused = task->paused();
  GoOn(task, now);
  if (paused) task->mutable_task()->set_state(Task::STATE_PAUSED);
}

absl::StatusOr<bool> Abort(TaskRecord* task, absl::string_view reason, absl::Time now) {
  if (task->task().state() == Task::STATE_ABORTED) return false;
  RETURN_IF_ERROR(CheckNotEnded(*task));
  *task = End(*task, Task::STATE_ABORTED, now);
  task->set_end_reason(std::string(reason));
  return true;
}

absl::Status Supersede(TaskRecord* task, absl::string_view by, absl::Time now) {
  RETURN_IF_ERROR(CheckNotEnded(*task));
  *task = End(*task, Task::STATE_SUPERSEDED, now);
  task->set_end_reason(absl::StrCat(by, " took its place"));
  return absl::OkStatus();
}

std::optional<TaskRecord> Due(const TaskRecord& record, const Tally& tally, absl::Time now) {
  const Task& task = record.task();
  const Counts& counts = tally.counts;
  if (task::HasEnded(task.state())) return std::nullopt;
  const int expected = task.expected_clients();
  if (now >= ToTime(task.expire_time())) {
    // A client that has not settled is about to be timed out, or never could begin.
    const bool errors = Failed(counts) || Settled(counts) < std::max(counts.joined(), expected);
    TaskRecord ended = End(record,
                           counts.joined() == 0 ? Task::STATE_EXPIRED
                           : errors             ? Task::STATE_COMPLETED_WITH_ERRORS
                                                : Task::STATE_COMPLETED,
                           now);
    ended.set_ended_by_time(true);
    return ended;
  }
  if (task.state() == Task::STATE_HALTED) return std::nullopt;
  const int failures = Failures(counts) - tally.borne;
  if (task.has_max_failures() && failures > task.max_failures()) {
    TaskRecord halted = record;
    halted.set_paused(task.state() == Task::STATE_PAUSED);
    halted.mutable_task()->set_state(Task::STATE_HALTED);
    halted.set_end_reason(absl::StrCat("halted after ", failures, failures == 1 ? " failure" : " failures",
                                       tally.borne > 0 ? " since it was resumed" : "", ", over the limit of ",
                                       task.max_failures()));
    return halted;
  }
  if (expected > 0 && Settled(counts) >= expected) {
    return End(record, Failed(counts) ? Task::STATE_COMPLETED_WITH_ERRORS : Task::STATE_COMPLETED, now);
  }
  if (task.state() == Task::STATE_SCHEDULED && now >= ToTime(task.start_time())) {
    TaskRecord open = record;
    open.mutable_task()->set_state(Task::STATE_OPEN);
    return open;
  }
  if (task.state() == Task::STATE_OPEN && task.has_rollout()) return RolloutDue(record, tally.rollout, now);
  return std::nullopt;
}

absl::Time NextDue(const TaskRecord& record) {
  const Task& task = record.task();
  if (task::HasEnded(task.state())) return absl::InfiniteFuture();
  const absl::Time end = ToTime(task.expire_time());
  if (task.state() == Task::STATE_SCHEDULED) return std::min(end, ToTime(task.start_time()));
  return task.state() == Task::STATE_OPEN ? std::min(end, NextRolloutDue(record)) : end;
}

}  // namespace parley::taskd
