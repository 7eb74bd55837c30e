// A task's own states: what starts, stops and ends it.
//
// Threads: pure functions.
#ifndef PARLEY_SERVICES_TASKD_DOMAIN_TASK_H_
#define PARLEY_SERVICES_TASKD_DOMAIN_TASK_H_

#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "services/taskd/domain/counts.h"
#include "services/taskd/domain/record.pb.h"

namespace parley::taskd {

// Returns the reason code for the clients that an end cancels: "task_aborted" and so on.
absl::string_view EndReason(task::v1::Task::State state);

// These are what operators do. A task that Parley has stopped, halted or paused by its roll-out, and that is paused
// then, stays as it is, and is paused once a revision mends it. They
// return whether the task has changed, or FAILED_PRECONDITION (TASK_ENDED) if it has ended otherwise.
absl::StatusOr<bool> Pause(TaskRecord* task);
absl::StatusOr<bool> Resume(TaskRecord* task, absl::Time now);
// Puts another revision on offer, of which no client has failed: a task that Parley has stopped goes on with it.
void BeginRevision(TaskRecord* task, absl::Time now);
absl::StatusOr<bool> Abort(TaskRecord* task, absl::string_view reason, absl::Time now);
absl::Status Supersede(TaskRecord* task, absl::string_view by, absl::Time now);
absl::Status CheckNotEnded(const TaskRecord& task);
// Returns FAILED_PRECONDITION (TASK_NOT_ENDED) unless the task and all of its clients have ended.
absl::Status CheckDeletable(const TaskRecord& task);

// Returns the task after what time and its clients' counts demand: it opens, halts, completes or expires. Returns no
// value if nothing is due.
std::optional<TaskRecord> Due(const TaskRecord& task, const Tally& tally, absl::Time now);
// Returns when time alone may demand something next.
absl::Time NextDue(const TaskRecord& task);

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_DOMAIN_TASK_H_
