#include "services/taskd/domain/explanation.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "lib/base/proto_time.h"
#include "lib/task/states.h"
#include "services/taskd/domain/reasons.h"
#include "services/taskd/domain/rollout.h"

namespace parley::taskd {
namespace {

using task::v1::Participant;
using task::v1::Task;

class Explanation {
 public:
  Explanation(const ParticipantRecord& client, const TaskRecord& task, const RolloutTally& tally, const Labels* labels,
              absl::Time now)
      : client_(client), task_(task), tally_(tally), labels_(labels), now_(now) {}

  std::vector<std::string> Run() {
    SayWhereItStands();
    SayWhatIsInstalled();
    SayWhetherItIsThere();
    if (task::HasEnded(task_.task().state())) {
      Say("the task has ended: nothing is offered any more");
    } else if (!was().has_revoke_time()) {
      SayWhatComesNext();
    }
    return std::move(sentences_);
  }

 private:
  const Participant& was() const { return client_.participant(); }
  std::string Id() const { return was().name().substr(was().name().rfind('/') + 1); }
  std::string TaskId() const { return task_.task().name().substr(task_.task().name().rfind('/') + 1); }
  std::string Revision(int64_t revision) const { return absl::StrCat("revision ", revision); }
  bool Outdated() const { return was().revision() < task_.task().revision() && !task::IsApplying(task::Place(was())); }

  template <typename... Parts>
  void Say(const Parts&... parts) {
    sentences_.push_back(absl::StrCat(parts...));
  }
  // `what` begins with a verb.
  void SayState(absl::string_view what) { Say(Id(), " ", what, ", since ", ShowTime(ToTime(was().update_time()))); }
  std::string Because() const {
    if (!was().detail().empty()) return absl::StrCat(": ", was().detail());
    return was().reason().empty() ? "" : absl::StrCat(": ", ExplainReason(was().reason()));
  }

  void SayWhereItStands() {
    if (was().has_revoke_time()) {
      Say("the key of ", Id(), " was revoked at ", ShowTime(ToTime(was().revoke_time())));
      Say("it is out of the task; a machine joins anew with a join key, or as a device that is labelled for the task");
      return;
    }
    const std::string revision = Revision(was().revision());
    switch (was().state()) {
      case Participant::STATE_JOINED:
        return SayState("has joined, and has not said yet what it has");
      case Participant::STATE_UP_TO_DATE:
        return SayState(absl::StrCat("had ", revision, " already"));
      case Participant::STATE_CONFIRMED:
        return Say(Id(), " has confirmed ", revision,
                   was().has_confirm_time() ? absl::StrCat(", at ", ShowTime(ToTime(was().confirm_time()))) : "");
      case Participant::STATE_QUEUED:
        return SayState(absl::StrCat("waits for ", revision, Because()));
      case Participant::STATE_OFFERED:
      case Participant::STATE_COUNTERED:
        return SayState(absl::StrCat("is offered ", revision, " and has not taken it yet"));
      case Participant::STATE_DEFERRED:
        return SayState(absl::StrCat("has put ", revision, " off", Because()));
      case Participant::STATE_DECLINED:
        return SayState(absl::StrCat("has declined ", revision, Because()));
      case Participant::STATE_INELIGIBLE:
        return SayState(
            absl::StrCat(was().hindered() ? "is hindered from taking " : "can not take ", revision, Because()));
      case Participant::STATE_ROLLED_BACK:
        return SayState(absl::StrCat("has rolled ", revision, " back", Because()));
      case Participant::STATE_ROLLBACK_FAILED:
        return SayState(absl::StrCat("could neither apply ", revision, " nor go back", Because()));
      case Participant::STATE_TIMED_OUT:
        return SayState(absl::StrCat("did not go on with ", revision, " in time", Because()));
      case Participant::STATE_LOST:
        return SayState(absl::StrCat("went away in the middle of ", revision));
      case Participant::STATE_CANCELED:
        return SayState(absl::StrCat("is out of the task", Because()));
      default:
        return SayState(absl::StrCat("is at work on ", revision));
    }
  }

  void SayWhatIsInstalled() {
    if (was().drifted()) Say("what is installed is not what it confirmed: somebody, or another task, has changed it");
    if (was().has_duplicate_time()) {
      Say("two machines hold its name, seen at ", ShowTime(ToTime(was().duplicate_time())),
          "; give each a name of its own, with --name");
    }
  }

  void SayWhetherItIsThere() {
    if (was().connected() || was().has_revoke_time()) return;
    const std::string since =
        was().has_disconnect_time() ? absl::StrCat(" since ", ShowTime(ToTime(was().disconnect_time()))) : "";
    Say("it is not connected", since, ": nothing reaches it until its agent runs and reaches the server");
  }

  void SayWhatComesNext() {
    if (Outdated()) Say(Revision(task_.task().revision()), " is on offer now, and it has not been told yet");
    if (SayWhyTheTaskStandsStill()) return;
    if (Outdated()) return SayWave();
    switch (was().state()) {
      case Participant::STATE_QUEUED:
      case Participant::STATE_DEFERRED:
        if (was().reason() == kReasonNextWave) return SayWave();
        if (client_.has_retry_time()) Say("an offer comes at ", ShowTime(ToTime(client_.retry_time())));
        return;
      case Participant::STATE_OFFERED:
      case Participant::STATE_COUNTERED:
        return SayLease("it is expected to answer");
      case Participant::STATE_ROLLED_BACK:
      case Participant::STATE_ROLLBACK_FAILED:
      case Participant::STATE_DECLINED:
        if (was().hindered()) return Say("it is offered again when that has passed");
        Say("it is not offered this revision again by itself; publish another one, or: parley task retry ", TaskId(),
            " ", Id());
        return;
      case Participant::STATE_INELIGIBLE:
        return SayHowItCanTakePart();
      case Participant::STATE_TIMED_OUT:
      case Participant::STATE_LOST:
        return Say("it goes on by itself when it is back");
      case Participant::STATE_CANCELED:
      case Participant::STATE_UP_TO_DATE:
      case Participant::STATE_CONFIRMED:
      case Participant::STATE_JOINED:
        return;
      default:
        return SayLease("it is expected to have gone on");
    }
  }

  bool SayWhyTheTaskStandsStill() {
    const Task& task = task_.task();
    if (task::IsInstalled(was().state()) && !Outdated()) return true;
    switch (task.state()) {
      case Task::STATE_SCHEDULED:
        Say("the task makes offers from ", ShowTime(ToTime(task.start_time())), " on");
        return true;
      case Task::STATE_PAUSED:
      case Task::STATE_HALTED:
        Say("the task is ", task.state() == Task::STATE_PAUSED ? "paused" : "halted",
            task_.end_reason().empty() ? "" : absl::StrCat(" (", task_.end_reason(), ")"),
            " and makes no offers; it goes on with another revision, or by: parley task resume ", TaskId());
        return true;
      default:
        return false;
    }
  }

  void SayWave() {
    if (!task_.task().has_rollout() || IsInOpenWave(client_, task_, labels_)) return;
    const int open = task_.rollout().open_waves_size();
    Say(open, " of ", task_.task().rollout().waves_size(),
        " waves are open, and it is in none of them: ", JudgeGate(task_, tally_, now_).detail);
    const bool asks = task_.task().rollout().gate().approvals() > 0;
    Say(asks ? "the next wave is approved by: parley task advance "
             : "the next wave opens at once by: parley task advance ",
        TaskId());
  }

  void SayLease(absl::string_view what) {
    if (was().has_lease_time()) Say(what, " before ", ShowTime(ToTime(was().lease_time())));
  }

  void SayHowItCanTakePart() {
    if (was().hindered()) return Say("it tries again by itself; mend that on the machine");
    if (was().reason() == kReasonNotSelected && client_.own_credential()) {
      const std::string shown = labels_ == nullptr ? "" : keys::ShowLabels(*labels_);
      Say("its labels are ", shown.empty() ? "none" : shown, "; the task's selector is shown by: parley task get ",
          TaskId());
    }
  }

  const ParticipantRecord& client_;
  const TaskRecord& task_;
  const RolloutTally& tally_;
  const Labels* const labels_;
  const absl::Time now_;
  std::vector<std::string> sentences_;
};

}  // namespace

std::vector<std::string> Explain(const ParticipantRecord& client, const TaskRecord& task, const RolloutTally& tally,
                                 const Labels* labels, absl::Time now) {
  return Explanation(client, task, tally, labels, now).Run();
}

}  // namespace parley::taskd
