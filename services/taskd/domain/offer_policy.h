// Decides whether there is anything to offer to a client, and why not: the list of docs/protocol/negotiation.md.
//
// Threads: pure functions.
#ifndef PARLEY_SERVICES_TASKD_DOMAIN_OFFER_POLICY_H_
#define PARLEY_SERVICES_TASKD_DOMAIN_OFFER_POLICY_H_

#include <optional>
#include <string>

#include "absl/time/time.h"
#include "parley/task/v1/participation_service.pb.h"
#include "services/taskd/domain/record.pb.h"
#include "services/taskd/domain/selection.h"

namespace parley::taskd {

struct Verdict {
  enum class Kind {
    // The revision on offer is to be installed, within `window` if it is set.
    kOffer,
    kUpToDate,
    // The client waits until `time`, or until the task goes on if that is the infinite past.
    kWait,
    // The client has put the offer off until `time`.
    kDefer,
    // The client cannot take part, for a cause that stays or that passes.
    kExclude,
    kHinder,
    // Nothing new is to be said.
    kStay,
  };
  Kind kind = Kind::kStay;
  std::string reason;
  // A text for people; empty if the reason has a sentence of its own.
  std::string detail;
  absl::Time time = absl::InfinitePast();
  std::optional<task::v1::Window> window;
};

// Judges a client that has declared and stands in the task's current revision. `selected` says whether the task selects
// it, and `in_open_wave` whether its roll-out has come to the client. The same arguments give the same answer.
Verdict JudgeOffer(const ParticipantRecord& record, const TaskRecord& task, Selected selected, bool in_open_wave,
                   absl::Time now);

// Returns whether the window has not closed, and opens before the task ends.
bool CanOpen(const task::v1::Window& window, const TaskRecord& task, absl::Time now);
// Returns whether what the client has installed is what the task's current revision installs.
bool HasPayload(const ParticipantRecord& record, const TaskRecord& task);

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_DOMAIN_OFFER_POLICY_H_
