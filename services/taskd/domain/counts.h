// A task's clients, counted by where they stand in its current revision.
#ifndef PARLEY_SERVICES_TASKD_DOMAIN_COUNTS_H_
#define PARLEY_SERVICES_TASKD_DOMAIN_COUNTS_H_

#include "parley/task/v1/task.pb.h"

namespace parley::taskd {

// Adds `sign` (1 or -1) for a client whose state speaks of `revision`. Whoever has ended in, or not begun to apply,
// an older revision than the task's waits for the current one.
void Count(task::v1::Participant::State state, task::v1::Participant::State lost_state, int64_t revision,
           int64_t task_revision, int sign, task::v1::Counts* counts);

int Failures(const task::v1::Counts& counts);
int Ended(const task::v1::Counts& counts);

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_DOMAIN_COUNTS_H_
