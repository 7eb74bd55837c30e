#include "services/taskd/domain/counts.h"

#include "lib/task/states.h"

namespace parley::taskd {

using task::v1::Counts;
using task::v1::Participant;

void Count(const Counted& client, int64_t task_revision, int sign, Tally* tally) {
  Counts* const counts = &tally->counts;
  counts->set_joined(counts->joined() + sign);
  const bool outdated =
      client.revision < task_revision && client.state != Participant::STATE_CANCELED && !task::IsApplying(client.place);
  if (!outdated && client.hindered) return counts->set_hindered(counts->hindered() + sign);
  const Participant::State state = outdated ? Participant::STATE_JOINED : client.state;
  if (task::IsWorking(state)) return counts->set_working(counts->working() + sign);
  switch (state) {
    case Participant::STATE_UP_TO_DATE:
      return counts->set_up_to_date(counts->up_to_date() + sign);
    case Participant::STATE_INELIGIBLE:
      return counts->set_ineligible(counts->ineligible() + sign);
    case Participant::STATE_DEFERRED:
      return counts->set_deferred(counts->deferred() + sign);
    case Participant::STATE_DECLINED:
      return counts->set_declined(counts->declined() + sign);
    case Participant::STATE_CONFIRMED:
      return counts->set_confirmed(counts->confirmed() + sign);
    case Participant::STATE_ROLLED_BACK:
      if (client.borne) tally->borne += sign;
      return counts->set_rolled_back(counts->rolled_back() + sign);
    case Participant::STATE_ROLLBACK_FAILED:
      if (client.borne) tally->borne += sign;
      return counts->set_rollback_failed(counts->rollback_failed() + sign);
    case Participant::STATE_CANCELED:
      return counts->set_canceled(counts->canceled() + sign);
    case Participant::STATE_TIMED_OUT:
      return counts->set_timed_out(counts->timed_out() + sign);
    case Participant::STATE_LOST:
      return counts->set_lost(counts->lost() + sign);
    default:
      return counts->set_waiting(counts->waiting() + sign);
  }
}

bool IsCandidate(const Counted& client, int64_t task_revision) {
  if (client.revoked || client.state == Participant::STATE_CANCELED) return false;
  const bool excluded = client.state == Participant::STATE_INELIGIBLE && !client.hindered;
  return !excluded || client.revision < task_revision;
}

int Failures(const Counts& counts) { return counts.rolled_back() + counts.rollback_failed(); }

int FailuresAtEnd(const Counts& counts) { return Failures(counts) + counts.timed_out(); }

int Settled(const Counts& counts) {
  return Failures(counts) + counts.up_to_date() + counts.confirmed() + counts.declined() + counts.ineligible() +
         counts.canceled();
}

}  // namespace parley::taskd
