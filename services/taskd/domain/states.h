// The states of a client in a task: which are at rest, which are at work, and what may be reported from where. Pure.
#ifndef PARLEY_SERVICES_TASKD_DOMAIN_STATES_H_
#define PARLEY_SERVICES_TASKD_DOMAIN_STATES_H_

#include "parley/task/v1/task.pb.h"

namespace parley::taskd {

using ParticipantState = task::v1::Participant::State;
using TaskState = task::v1::Task::State;

// UP_TO_DATE, INELIGIBLE, DECLINED, CONFIRMED, ROLLED_BACK, ROLLBACK_FAILED, CANCELED and TIMED_OUT: nothing runs out
// there, and the task may end around the client. LOST is not one of them.
bool IsAtRest(ParticipantState state);
// ACCEPTED to ROLLING_BACK: a client that vanishes there is LOST.
bool IsWorking(ParticipantState state);
// APPLYING to ROLLING_BACK: the client has begun to change what is installed, and is let finish.
bool IsApplying(ParticipantState state);
// The state that the client is in, or was in before it was LOST.
ParticipantState Place(const task::v1::Participant& participant);
// True when the client may fetch chunks of the revision that its state speaks of.
bool MayFetch(const task::v1::Participant& participant);
// True when a client in the one state may report the other.
bool MayReport(ParticipantState from, ParticipantState to);
// True when a person may give the client another attempt: it failed, declined or timed out, or cannot take part for a
// cause that does not pass by itself.
bool MayRetry(const task::v1::Participant& participant);

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_DOMAIN_STATES_H_
