// One client's way through a task: the state machine of docs/protocol/negotiation.md, as a pure function.
//
// The machine is driven by levels: what a client declares now says where it stands, whatever was believed of it before.
//
// Guarantees: an event either follows the table of that page, or changes nothing and is refused by name, or is
// repeated or stale and changes nothing. No clock, no store: the same arguments give the same answer.
#ifndef PARLEY_SERVICES_TASKD_DOMAIN_PARTICIPANT_H_
#define PARLEY_SERVICES_TASKD_DOMAIN_PARTICIPANT_H_

#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "parley/task/v1/participation_service.pb.h"
#include "services/taskd/domain/record.pb.h"
#include "services/taskd/domain/selection.h"

namespace parley::taskd {

using ParticipantState = task::v1::Participant::State;

// The limit for granted counter-offers of a client in one revision, so that it cannot keep the server busy for ever.
inline constexpr int kMaxCounters = 10;
// A report of more bytes alone is stored no more often than this.
inline constexpr absl::Duration kProgressCheckpoint = absl::Seconds(10);
// Returns how often it is in this task, whose lease may be short.
absl::Duration CheckpointOf(const TaskRecord& task);

struct Event {
  enum class Kind {
    // What a client sends in a NegotiateRequest, whose kind is that of its message.
    kRequest,
    kConfirm,
    // The client is connected, and the time or the task has changed, so that something may be to offer.
    kOfferDue,
    // The lease of the present state ran out; the client has been gone for the session lease.
    kLeaseRanOut,
    kSessionLost,
    // The task has ended.
    kTaskEnded,
    // Its key was revoked, for the reason given.
    kRevoked,
    // An operator has asked for another attempt.
    kRetry,
    // An operator resumes the task although the client has failed.
    kBorne,
  };
  Kind kind;
  const task::v1::NegotiateRequest* request = nullptr;
  const task::v1::ConfirmRequest* confirm = nullptr;
  // The connection that carried the request or the confirmation.
  absl::string_view connection;
  // The Participant.version on which an event of a lease or a session was decided. Another version makes it stale.
  int64_t version = 0;
  absl::string_view reason;
  // The labels that keyd tells of the client's device, with kRequest and kOfferDue; null while they are not known.
  std::shared_ptr<const Labels> labels;
};

// Returns the record after the event, or no value if that changes nothing (repeated, stale, or not due). Returns
// FAILED_PRECONDITION: NO_TRANSITION, TASK_FORCED, DEFERRALS_EXHAUSTED, DEFERRAL_TOO_LONG, SAME_CONNECTION,
// NOT_CHECKING, DIGEST_DIFFERS; INVALID_ARGUMENT: MESSAGE_MISSING, DEFERRAL_IN_THE_PAST.
absl::StatusOr<std::optional<ParticipantRecord>> Advance(const ParticipantRecord& record, const Event& event,
                                                         const TaskRecord& task, absl::Time now);

// Returns the record with the lease of a transfer begun anew, because the client fetches: no change of state, so the
// version stays. Returns no value if the client is not transferring, or not for the revision that it fetches.
std::optional<ParticipantRecord> RenewTransfer(const ParticipantRecord& record, int64_t revision,
                                               const TaskRecord& task, absl::Time now);

// Returns a client that has just joined. The caller fills in the member key.
ParticipantRecord NewParticipant(absl::string_view client, const TaskRecord& task, absl::Time now);

// Notes which waves the client that has just joined has missed. The commit must be on the condition that the task is
// still as it is here.
void NoteJoined(const TaskRecord& task, ParticipantRecord* record);

// Returns a client that joins again under a name that is its own: it begins anew, and nothing that was sent for the
// former record fits it. `connected` says that the former one is still connected, so that two machines use the name.
ParticipantRecord Rejoined(const ParticipantRecord& former, absl::string_view client, const TaskRecord& task,
                           bool connected, absl::Time now);

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_DOMAIN_PARTICIPANT_H_
