// Decides which devices a task selects: by labels, which operators set, and by facts, which devices say of themselves.
//
// Labels come from keyd and from nowhere else: nothing that a client sends is compared with a selector's label.
//
// Threads: pure functions.
#ifndef PARLEY_SERVICES_TASKD_DOMAIN_SELECTION_H_
#define PARLEY_SERVICES_TASKD_DOMAIN_SELECTION_H_

#include "lib/keys/labels.h"
#include "parley/task/v1/task.pb.h"
#include "services/taskd/domain/record.pb.h"

namespace parley::taskd {

using keys::Labels;

enum class Selected {
  kYes,
  kNo,
  // The device's labels are not known here yet.
  kUnknown,
};

// Says whether the selectors of the task are all met; without any, no device is selected. `labels` is null while they
// are not known.
Selected Select(const task::v1::Task& task, const Labels* labels, const Labels& facts);
// Says the same for a client of the task. One that joined with a join key needs no selector.
Selected Select(const ParticipantRecord& client, const task::v1::Task& task, const Labels* labels);

// Returns what a client says of itself: its facts, and what clients of earlier versions send as labels.
Labels FactsOf(const Labels& facts, const Labels& from_earlier_version);

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_DOMAIN_SELECTION_H_
