// What the labels of a device mean for those that ask: refusals, and what is shown.
//
// Threads: pure functions; ShowLabels asks the view.
#ifndef PARLEY_SERVICES_TASKD_PARTICIPANTS_DEVICE_LABELS_H_
#define PARLEY_SERVICES_TASKD_PARTICIPANTS_DEVICE_LABELS_H_

#include "absl/status/status.h"
#include "lib/keyd_client/device_labels.h"
#include "services/taskd/domain/record.pb.h"
#include "services/taskd/domain/selection.h"

namespace parley::taskd {

// Returns `differs` if the device is not selected, and UNAVAILABLE (LABELS_UNKNOWN) while keyd has not told its labels.
absl::Status CheckSelected(Selected selected, const absl::Status& differs);

// Puts the present labels into the client that is to be shown. Stored labels may be of an earlier time, or of an
// earlier version, which took a client's word for them.
void ShowLabels(const keyd_client::DeviceLabels& labels, ParticipantRecord* record);

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_PARTICIPANTS_DEVICE_LABELS_H_
