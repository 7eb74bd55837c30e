// The meaning of the states of a task and of a client in it (docs/protocol/negotiation.md), for servers and clients.
//
// Threads: pure functions.
#ifndef PARLEY_LIB_TASK_STATES_H_
#define PARLEY_LIB_TASK_STATES_H_

#include "parley/task/v1/task.pb.h"

namespace parley::task {

// Returns whether a task is in COMPLETED or a state that follows it, and not HALTED, which a resume or a new revision
// opens again.
bool HasEnded(v1::Task::State state);

// Returns whether a client is UP_TO_DATE, INELIGIBLE, DECLINED, CONFIRMED, ROLLED_BACK, ROLLBACK_FAILED, CANCELED or
// TIMED_OUT: no lease runs out there, and the task may end around the client. LOST is not one of them.
bool IsAtRest(v1::Participant::State state);
// Returns whether a client is UP_TO_DATE or CONFIRMED: it has what the task installs.
bool IsInstalled(v1::Participant::State state);
// Returns whether a client is DECLINED, ROLLED_BACK or ROLLBACK_FAILED: the same revision is offered again only when a
// person asks for it, or when something that mattered has changed.
bool HasFailed(v1::Participant::State state);
// Returns whether a client is in ACCEPTED to ROLLING_BACK, where it becomes LOST when it vanishes.
bool IsWorking(v1::Participant::State state);
// Returns whether a client is in APPLYING to ROLLING_BACK: it has begun to change what is installed, and is let finish.
bool IsApplying(v1::Participant::State state);
// Returns the state that the client is in, or was in before it was LOST.
v1::Participant::State Place(const v1::Participant& participant);
// Returns whether the client may fetch chunks of the revision that its state speaks of.
bool MayFetch(const v1::Participant& participant);
// Returns whether a client in the one state may report the other.
bool MayReport(v1::Participant::State from, v1::Participant::State to);
// Returns whether a declaration leads on from where the client stands, whatever it was before: the client is JOINED,
// QUEUED, INELIGIBLE or TIMED_OUT, or it has ROLLED_BACK for a hindrance.
bool AwaitsDeclaration(const v1::Participant& participant);
// Returns whether a client stays where it is when it declares a hindrance: it waits for a person, or is about to say
// how its update went.
bool StaysWhenHindered(const v1::Participant& participant);
// Returns whether a person may give the client another attempt: it failed, declined or timed out, or cannot take part
// for a cause that does not pass by itself.
bool MayRetry(const v1::Participant& participant);

}  // namespace parley::task

#endif  // PARLEY_LIB_TASK_STATES_H_
