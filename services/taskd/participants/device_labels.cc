#include "services/taskd/participants/device_labels.h"

#include "lib/base/error.h"
#include "services/taskd/domain/names.h"
#include "services/taskd/domain/reasons.h"

namespace parley::taskd {

absl::Status CheckSelected(Selected selected, const absl::Status& differs) {
  switch (selected) {
    case Selected::kYes:
      return absl::OkStatus();
    case Selected::kUnknown:
      return Error(absl::StatusCode::kUnavailable, "LABELS_UNKNOWN", ExplainReason(kReasonLabelsUnknown));
    case Selected::kNo:
      break;
  }
  return differs;
}

void ShowLabels(const keyd_client::DeviceLabels& labels, ParticipantRecord* record) {
  task::v1::Participant& participant = *record->mutable_participant();
  participant.clear_labels();
  const absl::StatusOr<ParticipantId> id = ParseParticipantName(participant.name());
  if (!record->own_credential() || !id.ok()) return;
  if (const auto known = labels.Find(id->client)) *participant.mutable_labels() = *known;
}

}  // namespace parley::taskd
