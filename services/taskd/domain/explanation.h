// Says in sentences where a client stands in its task, what it waits for, what comes next, and what an operator can do.
//
// Threads: pure functions.
#ifndef PARLEY_SERVICES_TASKD_DOMAIN_EXPLANATION_H_
#define PARLEY_SERVICES_TASKD_DOMAIN_EXPLANATION_H_

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "services/taskd/domain/counts.h"
#include "services/taskd/domain/record.pb.h"
#include "services/taskd/domain/selection.h"

namespace parley::taskd {

// `client.participant()` is as operators are shown it, with its presence and wave; `labels` are those that keyd tells
// of its device now, or null. Returns at least one sentence; each ends without a full stop.
std::vector<std::string> Explain(const ParticipantRecord& client, const TaskRecord& task, const RolloutTally& tally,
                                 const Labels* labels, absl::Time now);

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_DOMAIN_EXPLANATION_H_
