#include "lib/task/states.h"

namespace parley::task {

using v1::Participant;
using v1::Task;

bool HasEnded(Task::State state) { return state >= Task::STATE_COMPLETED && state != Task::STATE_HALTED; }

bool IsAtRest(Participant::State state) {
  switch (state) {
    case Participant::STATE_UP_TO_DATE:
    case Participant::STATE_INELIGIBLE:
    case Participant::STATE_DECLINED:
    case Participant::STATE_CONFIRMED:
    case Participant::STATE_ROLLED_BACK:
    case Participant::STATE_ROLLBACK_FAILED:
    case Participant::STATE_CANCELED:
    case Participant::STATE_TIMED_OUT:
      return true;
    default:
      return false;
  }
}

bool IsInstalled(Participant::State state) {
  return state == Participant::STATE_UP_TO_DATE || state == Participant::STATE_CONFIRMED;
}

bool HasFailed(Participant::State state) {
  return state == Participant::STATE_DECLINED || state == Participant::STATE_ROLLED_BACK ||
         state == Participant::STATE_ROLLBACK_FAILED;
}

bool IsWorking(Participant::State state) {
  return state == Participant::STATE_ACCEPTED || state == Participant::STATE_TRANSFERRING ||
         state == Participant::STATE_STAGED || IsApplying(state);
}

bool IsApplying(Participant::State state) {
  return state == Participant::STATE_APPLYING || state == Participant::STATE_CHECKING ||
         state == Participant::STATE_ROLLING_BACK;
}

Participant::State Place(const Participant& participant) {
  return participant.state() == Participant::STATE_LOST ? participant.lost_state() : participant.state();
}

bool MayFetch(const Participant& participant) { return IsWorking(Place(participant)); }

bool MayReport(Participant::State from, Participant::State to) {
  switch (to) {
    case Participant::STATE_TRANSFERRING:
      return from == Participant::STATE_ACCEPTED || from == to;
    case Participant::STATE_STAGED:
      return from == Participant::STATE_ACCEPTED || from == Participant::STATE_TRANSFERRING || from == to;
    case Participant::STATE_APPLYING:
      return from == Participant::STATE_STAGED || from == to;
    case Participant::STATE_CHECKING:
      return from == Participant::STATE_APPLYING || from == to;
    case Participant::STATE_ROLLING_BACK:
    case Participant::STATE_ROLLED_BACK:
      return IsWorking(from) || from == to;
    case Participant::STATE_ROLLBACK_FAILED:
      return IsApplying(from) || from == to;
    default:
      return false;
  }
}

bool AwaitsDeclaration(const Participant& participant) {
  switch (participant.state()) {
    case Participant::STATE_JOINED:
    case Participant::STATE_QUEUED:
    case Participant::STATE_INELIGIBLE:
    case Participant::STATE_TIMED_OUT:
      return true;
    case Participant::STATE_ROLLED_BACK:
      return participant.hindered();
    default:
      return false;
  }
}

bool StaysWhenHindered(const Participant& participant) {
  switch (Place(participant)) {
    case Participant::STATE_CHECKING:
    case Participant::STATE_ROLLING_BACK:
    case Participant::STATE_DECLINED:
    case Participant::STATE_ROLLBACK_FAILED:
    case Participant::STATE_CANCELED:
      return true;
    case Participant::STATE_ROLLED_BACK:
      return !participant.hindered();
    default:
      return false;
  }
}

bool MayRetry(const Participant& participant) {
  if (participant.state() == Participant::STATE_INELIGIBLE) return !participant.hindered();
  return HasFailed(participant.state()) || participant.state() == Participant::STATE_TIMED_OUT;
}

}  // namespace parley::task
