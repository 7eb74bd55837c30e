// What the labels of a device mean to those that ask: refusals, and what is shown.
#ifndef PARLEY_SERVICES_TASKD_PARTICIPANTS_DEVICE_LABELS_H_
#define PARLEY_SERVICES_TASKD_PARTICIPANTS_DEVICE_LABELS_H_

#include "absl/status/status.h"
#include "lib/keyclient/device_labels.h"
#include "services/taskd/domain/record.pb.h"
#include "services/taskd/domain/selection.h"

namespace parley::taskd {

// Returns `differs` when the device is not selected, and UNAVAILABLE (LABELS_UNKNOWN) while keyd's word has not come.
absl::Status CheckSelected(Selected selected, const absl::Status& differs);

// Puts the labels that hold now into the client that is to be shown. What is stored may be of before, or of an earlier
// version, which took a client's word for it.
void ShowLabels(const keyclient::DeviceLabels& labels, ParticipantRecord* record);

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_PARTICIPANTS_DEVICE_LABELS_H_
