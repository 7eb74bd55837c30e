// What the labels of a device mean for those that ask: refusals, and what is shown.
//
// Threads: pure functions; ShowParticipant asks the views of labels and of tasks.
#ifndef PARLEY_SERVICES_TASKD_PARTICIPANTS_DEVICE_LABELS_H_
#define PARLEY_SERVICES_TASKD_PARTICIPANTS_DEVICE_LABELS_H_

#include "absl/status/status.h"
#include "services/taskd/domain/record.pb.h"
#include "services/taskd/domain/selection.h"
#include "services/taskd/participants/parts.h"

namespace parley::taskd {

// Returns `differs` if the device is not selected, and UNAVAILABLE (LABELS_UNKNOWN) while keyd has not told its labels.
absl::Status CheckSelected(Selected selected, const absl::Status& differs);

// Returns the client in the form of the API, with its labels and its connection as they are now. Stored labels may be
// of an earlier time, or of an earlier version, which took a client's word for them.
task::v1::Participant ShowParticipant(const TaskdParts& parts, ParticipantRecord record);

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_PARTICIPANTS_DEVICE_LABELS_H_
