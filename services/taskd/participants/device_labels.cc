#include "services/taskd/participants/device_labels.h"

#include <utility>

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

task::v1::Participant ShowParticipant(const TaskdParts& parts, ParticipantRecord record) {
  task::v1::Participant& participant = *record.mutable_participant();
  participant.clear_labels();
  const absl::StatusOr<ParticipantId> id = ParseParticipantName(participant.name());
  if (record.own_credential() && id.ok()) {
    if (const auto known = parts.labels->Find(id->client)) *participant.mutable_labels() = *known;
  }
  parts.task_index->ShowPresence(&participant);
  return std::move(participant);
}

}  // namespace parley::taskd
