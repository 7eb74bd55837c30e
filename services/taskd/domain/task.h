// A task's own states: what starts, stops and ends it. Pure.
#ifndef PARLEY_SERVICES_TASKD_DOMAIN_TASK_H_
#define PARLEY_SERVICES_TASKD_DOMAIN_TASK_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "services/taskd/domain/counts.h"
#include "services/taskd/domain/record.pb.h"

namespace parley::taskd {

// Reason code for the clients that an end cancels: "task_aborted" …
absl::string_view EndReason(task::v1::Task::State state);

// What operators do. True when it changed the task; FAILED_PRECONDITION (TASK_ENDED) when it has ended otherwise. A
// halted task that is paused stays halted, and is paused once it is mended by a revision.
absl::StatusOr<bool> Pause(TaskRecord* task);
absl::StatusOr<bool> Resume(TaskRecord* task, absl::Time now);
// Another revision was put on offer, of which nobody has failed: a halted task goes on with it.
void BeginRevision(TaskRecord* task, absl::Time now);
absl::StatusOr<bool> Abort(TaskRecord* task, absl::string_view reason, absl::Time now);
absl::Status Supersede(TaskRecord* task, absl::string_view by, absl::Time now);
absl::Status CheckNotEnded(const TaskRecord& task);

// The task after what time and its clients' counts demand: it opens, halts, completes or expires. Nothing when
// nothing is due.
std::optional<TaskRecord> Due(const TaskRecord& task, const Tally& tally, absl::Time now);
// When time alone may demand something next.
absl::Time NextDue(const TaskRecord& task);

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_DOMAIN_TASK_H_
