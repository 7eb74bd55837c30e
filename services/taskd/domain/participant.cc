#include "services/taskd/domain/participant.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/util/message_differencer.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/task/states.h"
#include "services/taskd/domain/declared.h"
#include "services/taskd/domain/offer_policy.h"
#include "services/taskd/domain/reasons.h"
#include "services/taskd/domain/rollout.h"
#include "services/taskd/domain/task.h"

namespace parley::taskd {
namespace {

using task::v1::Declaration;
using task::v1::NegotiateRequest;
using task::v1::Participant;
using task::v1::Progress;
using task::v1::Task;
using Message = NegotiateRequest::MessageCase;
using Result = absl::StatusOr<std::optional<ParticipantRecord>>;

// "TRANSFERRING" for STATE_TRANSFERRING.
std::string Show(ParticipantState state) { return Participant::State_Name(state).substr(sizeof("STATE_") - 1); }

// One event on one record. `next_` is what the record becomes; a method that returns nothing leaves it unused.
class Machine {
 public:
  Machine(const ParticipantRecord& record, const Event& event, const TaskRecord& task, absl::Time now)
      : record_(record), event_(event), task_(task), now_(now), next_(record) {}

  Result Run() {
    switch (event_.kind) {
      case Event::Kind::kRequest:
        return OnRequest(*event_.request);
      case Event::Kind::kConfirm:
        return OnConfirm(*event_.confirm);
      case Event::Kind::kOfferDue:
        return OnOfferDue();
      case Event::Kind::kLeaseRanOut:
        return OnLeaseRanOut();
      case Event::Kind::kSessionLost:
        return OnSessionLost();
      case Event::Kind::kTaskEnded:
        return OnTaskEnded();
      case Event::Kind::kRevoked:
        return OnRevoked();
      case Event::Kind::kRetry:
        return OnRetry();
      case Event::Kind::kBorne:
        return OnBorne();
    }
    return Unchanged();
  }

 private:
  const Participant& was() const { return record_.participant(); }
  Participant& is() { return *next_.mutable_participant(); }
  ParticipantState state() const { return was().state(); }
  bool Outdated() const { return was().revision() < task_.task().revision(); }
  bool IsApplying() const { return task::IsApplying(task::Place(was())); }
  bool TaskHasEnded() const { return task::HasEnded(task_.task().state()); }
  absl::Time TaskEnd() const { return ToTime(task_.task().expire_time()); }

  bool Same() const { return google::protobuf::util::MessageDifferencer::Equals(record_, next_); }

  // Whether the task selects the client, by what operators and the client say of it now.
  Selected Selection() const { return Select(next_, task_.task(), event_.labels.get()); }
  bool IsSelected() const { return Selection() == Selected::kYes; }
  // The roll-out has come to the client, by what operators say of it now.
  bool InOpenWave() const { return IsInOpenWave(next_, task_, event_.labels.get()); }
  // What was offered is taken back from a client that has not begun to change what is installed: the task or its wave
  // is not for this device any more, or the task was halted.
  bool MustLeave() const {
    if (task::IsAtRest(state()) || IsApplying()) return false;
    return Selection() == Selected::kNo || task_.task().state() == Task::STATE_HALTED || !InOpenWave();
  }
  // What labels are shown is what was decided by.
  void NoteLabels() {
    if (!next_.own_credential()) is().clear_labels();
    if (next_.own_credential() && event_.labels != nullptr) *is().mutable_labels() = *event_.labels;
  }

  // The payload of the current revision is installed.
  bool HasPayload() const { return taskd::HasPayload(next_, task_); }

  static Result Unchanged() { return std::optional<ParticipantRecord>(); }

  absl::Status NoTransition(absl::string_view what) const {
    return FailedPrecondition("NO_TRANSITION", absl::StrCat("a client that is ", Show(state()), " can not ", what,
                                                            "; declare again on a new stream to go on from there"));
  }

  // Ends the step: one version more, unless nothing has changed.
  Result Done() {
    if (Same()) return Unchanged();
    is().set_version(was().version() + 1);
    *is().mutable_update_time() = ToProto(now_);
    return std::optional<ParticipantRecord>(std::move(next_));
  }

  Result Enter(ParticipantState state, absl::string_view reason = "", absl::string_view detail = "",
               bool hindered = false) {
    is().set_state(state);
    is().set_reason(std::string(reason));
    is().set_detail(std::string(detail));
    is().set_hindered(hindered);
    is().clear_lost_state();
    next_.clear_retry_time();
    // Another failure is one more.
    next_.clear_borne();
    Lease(state);
    return Done();
  }

  void Lease(ParticipantState state) {
    if (task::IsAtRest(state)) {
      is().clear_lease_time();
      return;
    }
    const task::v1::Leases& leases = task_.task().leases();
    absl::Time end = TaskEnd();
    if (state == Participant::STATE_OFFERED) end = std::min(end, now_ + ToDuration(leases.answer()));
    if (state == Participant::STATE_ACCEPTED || state == Participant::STATE_TRANSFERRING) {
      end = now_ + ToDuration(leases.transfer());
    }
    if (state == Participant::STATE_STAGED || task::IsApplying(state)) {
      // Who has a window of its own waits for it with everything ready.
      const bool waits = state == Participant::STATE_STAGED && next_.has_window();
      const absl::Time from = waits ? std::max(now_, ToTime(next_.window().start_time())) : now_;
      end = from + ToDuration(leases.apply());
    }
    *is().mutable_lease_time() = ToProto(end);
  }

  Result OnRequest(const NegotiateRequest& request) {
    if (request.message_case() == Message::kDeclare) return OnDeclare(request.declare());
    if (request.message_case() == Message::MESSAGE_NOT_SET) {
      return Error(absl::StatusCode::kInvalidArgument, "MESSAGE_MISSING", "a NegotiateRequest has no message");
    }
    if (request.attempt() != was().attempt() || request.expected_version() != was().version()) return Unchanged();
    if (!task::IsAtRest(state()) && !IsApplying()) {
      if (TaskHasEnded()) return OnTaskEnded();
      if ((Outdated() || MustLeave()) && record_.has_declaration()) return Evaluate();
    }
    switch (request.message_case()) {
      case Message::kAccept:
        return OnAccept();
      case Message::kDefer:
        return OnDefer(request.defer());
      case Message::kCounter:
        return OnCounter(request.counter());
      case Message::kDecline:
        return OnDecline(request.decline());
      default:
        return OnReport(request.progress());
    }
  }

  // Where the client stands follows from what it has now, whatever was believed of it before.
  Result OnDeclare(const Declaration& declaration) {
    if (was().has_revoke_time()) return Unchanged();
    asked_ = TakeDeclaration(declaration, now_, &next_);
    NoteLabels();
    if (TaskHasEnded() && !IsApplying()) {
      return Outdated() || !task::IsAtRest(state()) ? OnTaskEnded() : StayInEndedTask();
    }
    if (asked_ && !HasPayload()) TakeRetry();
    if (Outdated() && !IsApplying()) return Evaluate();
    if (declaration.has_hindrance() && !HasPayload() && !TaskHasEnded()) return OnHindrance();
    return LeadsOn() || MustLeave() ? Evaluate() : StayOrComeBack();
  }

  // A person at the machine wants the update: neither a deferral nor another task's files stand against that.
  void TakeRetry() {
    const bool begins = state() == Participant::STATE_JOINED || state() == Participant::STATE_QUEUED;
    if (!begins && !task::IsAtRest(state())) return;
    next_.set_retry(true);
    is().clear_deferred_until();
  }

  // Something on the machine keeps the client from taking an offer.
  Result OnHindrance() { return task::StaysWhenHindered(was()) ? StayOrComeBack() : Evaluate(); }

  // A declaration without a hindrance leads on from where the client stands.
  bool LeadsOn() const {
    if (task::AwaitsDeclaration(was())) return true;
    if (task::IsInstalled(state())) return !HasPayload();
    if (task::HasFailed(state())) return asked_ || SomethingMatteredChanged(record_, next_);
    switch (state()) {
      case Participant::STATE_OFFERED:
        return HasPayload() || !IsSelected();
      case Participant::STATE_DEFERRED:
      case Participant::STATE_COUNTERED:
        return HasPayload() || OfferIsDue();
      default:
        return false;
    }
  }

  Result StayOrComeBack() { return state() == Participant::STATE_LOST ? Enter(was().lost_state()) : Done(); }

  // Nothing is offered any more; but what was confirmed is not called so when it is no longer there.
  Result StayInEndedTask() {
    if (task::IsInstalled(state()) && is().drifted()) {
      is().set_reason(std::string(kReasonDrifted));
      is().set_detail(ExplainReason(kReasonDrifted));
    } else if (was().reason() == kReasonDrifted) {
      is().clear_reason();
      is().clear_detail();
    }
    return Done();
  }

  // Something may be offered to a client that waits for it, and a new revision to all but those that are applying.
  bool OfferIsDue() const {
    if (TaskHasEnded() || was().has_revoke_time()) return false;
    if (!next_.has_declaration()) return false;
    if (Outdated()) return !IsApplying();
    if (MustLeave()) return true;
    const bool open = task_.task().state() == Task::STATE_OPEN;
    switch (state()) {
      case Participant::STATE_QUEUED:
        return open && now_ >= ToTime(record_.retry_time());
      case Participant::STATE_DEFERRED:
        return now_ >= ToTime(was().deferred_until());
      case Participant::STATE_COUNTERED:
        return open;
      case Participant::STATE_INELIGIBLE:
        return was().reason() == kReasonNotSelected && IsSelected();
      default:
        return false;
    }
  }

  Result OnOfferDue() {
    if (OfferIsDue()) return Evaluate();
    // It was given up in the moment in which it came back.
    return state() == Participant::STATE_LOST ? Enter(was().lost_state()) : Unchanged();
  }

  // Offers the current revision, or says why not (yet).
  Result Evaluate() {
    if (Outdated()) StartRevision();
    NoteLabels();
    const Verdict verdict = JudgeOffer(next_, task_, Selection(), InOpenWave(), now_);
    const std::string detail = verdict.detail.empty() ? ExplainReason(verdict.reason) : verdict.detail;
    switch (verdict.kind) {
      case Verdict::Kind::kOffer:
        return Offer(verdict.window);
      case Verdict::Kind::kUpToDate:
        next_.clear_retry();
        TakeInstalled(task_.task().revision(), task_.task().payload_digest(), &next_);
        return Enter(Participant::STATE_UP_TO_DATE);
      case Verdict::Kind::kWait:
        return Wait(Participant::STATE_QUEUED, verdict);
      case Verdict::Kind::kDefer:
        return Wait(Participant::STATE_DEFERRED, verdict);
      case Verdict::Kind::kExclude:
        return Enter(Participant::STATE_INELIGIBLE, verdict.reason, detail);
      case Verdict::Kind::kHinder:
        return Enter(Participant::STATE_INELIGIBLE, verdict.reason, detail, /*hindered=*/true);
      case Verdict::Kind::kStay:
        return StayOrComeBack();
    }
    return Unchanged();
  }

  // Nothing of an earlier revision's counts in the current one. Who asks now means the current one.
  void StartRevision() {
    is().set_deferrals(0);
    is().set_attempt(0);
    is().clear_deferred_until();
    is().set_transferred_bytes(0);
    is().clear_reason();
    next_.set_counters(0);
    next_.clear_window();
    next_.clear_checking_connection();
    if (!asked_) next_.clear_retry();
    next_.clear_failed_circumstances();
    is().set_revision(task_.task().revision());
  }

  // The client waits, until the time that the verdict names if it names one.
  Result Wait(ParticipantState state, const Verdict& verdict) {
    is().set_state(state);
    is().set_reason(verdict.reason);
    is().clear_detail();
    is().set_hindered(false);
    is().clear_lost_state();
    next_.clear_borne();
    next_.clear_retry_time();
    if (verdict.time != absl::InfinitePast()) *next_.mutable_retry_time() = ToProto(verdict.time);
    Lease(state);
    return Done();
  }

  Result Offer(const std::optional<task::v1::Window>& window) {
    is().set_attempt(is().attempt() + 1);
    is().set_transferred_bytes(0);
    is().clear_deferred_until();
    next_.clear_checking_connection();
    next_.clear_retry();
    next_.clear_failed_circumstances();
    next_.set_offered_digest(task_.task().payload_digest());
    next_.set_digest_at_offer(is().installed_digest());
    absl::Time deadline = std::min(TaskEnd(), ToTime(task_.manifest_expire_time()));
    next_.clear_window();
    if (window.has_value()) {
      *next_.mutable_window() = *window;
      deadline = std::min(deadline, ToTime(window->end_time()));
    }
    *next_.mutable_offer_deadline() = ToProto(deadline);
    return Enter(Participant::STATE_OFFERED);
  }

  Result OnAccept() {
    if (state() != Participant::STATE_OFFERED) return NoTransition("accept an offer");
    // A paused task makes no one begin: the offer is taken back and comes again.
    if (task_.task().state() != Task::STATE_OPEN || !IsSelected() || !InOpenWave()) return Evaluate();
    return Enter(Participant::STATE_ACCEPTED);
  }

  Result OnDefer(const task::v1::Deferral& deferral) {
    if (state() != Participant::STATE_OFFERED) return NoTransition("defer an offer");
    const absl::Time until = ToTime(deferral.until());
    if (!deferral.has_until() || until <= now_) {
      return Error(absl::StatusCode::kInvalidArgument, "DEFERRAL_IN_THE_PAST",
                   "a deferral must name a time that is yet to come; check this machine's clock");
    }
    if (was().deferrals() >= task_.task().max_deferrals()) {
      return FailedPrecondition("DEFERRALS_EXHAUSTED",
                                absl::StrCat("the offer was deferred ", was().deferrals(), " times already; accept it",
                                             task_.task().forced() ? "" : " or decline it"));
    }
    if (until >= std::min(TaskEnd(), ToTime(task_.manifest_expire_time()))) {
      return FailedPrecondition("DEFERRAL_TOO_LONG", absl::StrCat("the update must be applied before ",
                                                                  ShowTime(TaskEnd()), "; defer to an earlier time"));
    }
    is().set_deferrals(was().deferrals() + 1);
    *is().mutable_deferred_until() = deferral.until();
    Result result = Enter(Participant::STATE_DEFERRED, "deferred", deferral.reason());
    *(*result)->mutable_retry_time() = deferral.until();
    return result;
  }

  Result OnCounter(const task::v1::Counter& counter) {
    if (state() != Participant::STATE_OFFERED) return NoTransition("ask for another window");
    // Not granted: the same offer stands.
    if (!CanOpen(counter.window(), task_, now_) || record_.counters() >= kMaxCounters) return Unchanged();
    next_.set_counters(record_.counters() + 1);
    if (task_.task().state() != Task::STATE_OPEN) {
      *next_.mutable_window() = counter.window();
      return Enter(Participant::STATE_COUNTERED, "countered", counter.reason());
    }
    return Offer(counter.window());
  }

  Result OnDecline(const task::v1::Declination& declination) {
    if (state() != Participant::STATE_OFFERED) return NoTransition("decline an offer");
    if (task_.task().forced()) {
      return FailedPrecondition("TASK_FORCED",
                                "this task is forced and can not be declined; accept its offer, or defer it");
    }
    RememberFailure(&next_);
    return Enter(Participant::STATE_DECLINED, declination.code(), declination.detail());
  }

  Result OnReport(const Progress& progress) {
    if (!task::MayReport(state(), progress.state())) {
      return NoTransition(absl::StrCat("report ", Show(progress.state())));
    }
    is().set_transferred_bytes(std::max(was().transferred_bytes(), progress.transferred_bytes()));
    if (progress.state() == state()) return OnMoreBytes();
    if (progress.state() == Participant::STATE_CHECKING) next_.set_checking_connection(std::string(event_.connection));
    NoteInstalled(progress.state());
    const bool failed = progress.state() == Participant::STATE_ROLLING_BACK || task::IsAtRest(progress.state());
    if (!failed) return Enter(progress.state());
    const bool passing = progress.state() == Participant::STATE_ROLLED_BACK && progress.passing();
    if (task::IsAtRest(progress.state()) && !passing) RememberFailure(&next_);
    // The reason of a roll-back that was given at its start stands when its end names none.
    const bool again = progress.reason().empty() && state() == Participant::STATE_ROLLING_BACK;
    return Enter(progress.state(), again ? was().reason() : progress.reason(),
                 again && progress.detail().empty() ? was().detail() : progress.detail(), passing);
  }

  // While a client applies, what it declared before is not what is installed; and after a failed roll-back nobody
  // knows.
  void NoteInstalled(ParticipantState reported) {
    if (reported == Participant::STATE_APPLYING) {
      if (!next_.has_digest_at_offer()) next_.set_digest_at_offer(was().installed_digest());
      is().clear_installed_digest();
    }
    if (reported == Participant::STATE_ROLLED_BACK && next_.has_digest_at_offer()) {
      is().set_installed_digest(next_.digest_at_offer());
    }
    if (reported == Participant::STATE_ROLLBACK_FAILED) is().clear_installed_digest();
  }

  // Bytes alone are no change: the version stays, and the record is written now and then.
  Result OnMoreBytes() {
    if (state() != Participant::STATE_TRANSFERRING || is().transferred_bytes() == was().transferred_bytes()) {
      return Unchanged();
    }
    if (now_ - ToTime(was().update_time()) < CheckpointOf(task_)) return Unchanged();
    Lease(state());
    *is().mutable_update_time() = ToProto(now_);
    return std::optional<ParticipantRecord>(std::move(next_));
  }

  Result OnConfirm(const task::v1::ConfirmRequest& confirm) {
    if (confirm.attempt() != was().attempt() || task::Place(was()) != Participant::STATE_CHECKING) {
      const bool repeated = state() == Participant::STATE_CONFIRMED && confirm.attempt() == was().attempt() &&
                            confirm.installed_digest() == record_.offered_digest();
      if (repeated) return Unchanged();
      return FailedPrecondition("NOT_CHECKING",
                                absl::StrCat("only a client that is CHECKING in attempt ", was().attempt(),
                                             " can confirm it; this one is ", Show(state())));
    }
    if (event_.connection == record_.checking_connection()) {
      return FailedPrecondition(
          "SAME_CONNECTION",
          "the confirmation came over the connection that reported CHECKING; connect anew and repeat it");
    }
    if (confirm.installed_digest() != record_.offered_digest()) {
      return FailedPrecondition("DIGEST_DIFFERS",
                                "what is installed has another digest than the manifest; roll back and report it");
    }
    TakeInstalled(was().revision(), confirm.installed_digest(), &next_);
    is().set_confirmed_revision(std::max(was().confirmed_revision(), was().revision()));
    *is().mutable_confirm_time() = ToProto(now_);
    return Enter(Participant::STATE_CONFIRMED);
  }

  Result OnLeaseRanOut() {
    if (task::IsAtRest(state()) || was().version() != event_.version) return Unchanged();
    const ParticipantState place = task::Place(was());
    const absl::string_view reason = place == Participant::STATE_OFFERED ? "answer_lease"
                                     : place == Participant::STATE_ACCEPTED || place == Participant::STATE_TRANSFERRING
                                         ? "transfer_lease"
                                     : task::IsWorking(place) ? "apply_lease"
                                                              : "task_expired";
    if (task::IsApplying(place)) is().clear_installed_digest();
    return Enter(Participant::STATE_TIMED_OUT, reason, ExplainReason(reason));
  }

  Result OnSessionLost() {
    if (!task::IsWorking(state()) || was().version() != event_.version) return Unchanged();
    // The lease of where it stopped goes on.
    is().set_lost_state(state());
    is().set_state(Participant::STATE_LOST);
    return Done();
  }

  Result OnTaskEnded() {
    if (!TaskHasEnded() || state() == Participant::STATE_CANCELED) return Unchanged();
    if (task::IsAtRest(state()) && !Outdated()) return Unchanged();
    if (task_.ended_by_time()) {
      is().set_revision(task_.task().revision());
      return Enter(Participant::STATE_TIMED_OUT, "task_expired", ExplainReason("task_expired"));
    }
    if (IsApplying()) return Unchanged();
    is().set_revision(task_.task().revision());
    const absl::string_view reason = EndReason(task_.task().state());
    return Enter(Participant::STATE_CANCELED, reason,
                 task_.end_reason().empty() ? ExplainReason(reason) : task_.end_reason());
  }

  Result OnRevoked() {
    if (was().has_revoke_time()) return Unchanged();
    *is().mutable_revoke_time() = ToProto(now_);
    if (task::IsAtRest(state()) && !Outdated()) return Done();
    is().set_revision(task_.task().revision());
    return Enter(Participant::STATE_CANCELED, "revoked",
                 event_.reason.empty() ? ExplainReason("revoked") : std::string(event_.reason));
  }

  // Nothing that the client sees: the version stays.
  Result OnBorne() {
    const bool failed = state() == Participant::STATE_ROLLED_BACK || state() == Participant::STATE_ROLLBACK_FAILED;
    if (!failed || was().hindered() || Outdated() || record_.borne()) return Unchanged();
    next_.set_borne(true);
    return std::optional<ParticipantRecord>(std::move(next_));
  }

  // A client at rest is offered the revision as soon as it is connected. One of an older revision is anyway.
  Result OnRetry() {
    if (TaskHasEnded() || was().has_revoke_time() || Outdated()) return Unchanged();
    if (!task::MayRetry(was())) return Unchanged();
    next_.set_retry(true);
    is().clear_deferred_until();
    return Enter(Participant::STATE_QUEUED, kReasonRetry, ExplainReason(kReasonRetry));
  }

  const ParticipantRecord& record_;
  const Event& event_;
  const TaskRecord& task_;
  const absl::Time now_;
  ParticipantRecord next_;
  // A person at the machine asks for the update with this event.
  bool asked_ = false;
};

}  // namespace

absl::StatusOr<std::optional<ParticipantRecord>> Advance(const ParticipantRecord& record, const Event& event,
                                                         const TaskRecord& task, absl::Time now) {
  return Machine(record, event, task, now).Run();
}

absl::Duration CheckpointOf(const TaskRecord& task) {
  return std::min(kProgressCheckpoint, ToDuration(task.task().leases().transfer()) / 4);
}

std::optional<ParticipantRecord> RenewTransfer(const ParticipantRecord& record, int64_t revision,
                                               const TaskRecord& task, absl::Time now) {
  const ParticipantState state = record.participant().state();
  const bool transferring = state == Participant::STATE_ACCEPTED || state == Participant::STATE_TRANSFERRING;
  if (!transferring || record.participant().revision() != revision) return std::nullopt;
  const absl::Time until = now + ToDuration(task.task().leases().transfer());
  if (until <= ToTime(record.participant().lease_time())) return std::nullopt;
  ParticipantRecord next = record;
  *next.mutable_participant()->mutable_lease_time() = ToProto(until);
  return next;
}

ParticipantRecord NewParticipant(absl::string_view client, const TaskRecord& task, absl::Time now) {
  ParticipantRecord record;
  Participant& participant = *record.mutable_participant();
  participant.set_name(absl::StrCat(task.task().name(), "/participants/", client));
  participant.set_state(Participant::STATE_JOINED);
  participant.set_version(1);
  participant.set_revision(task.task().revision());
  *participant.mutable_join_time() = ToProto(now);
  *participant.mutable_update_time() = ToProto(now);
  *participant.mutable_lease_time() = task.task().expire_time();
  NoteJoined(task, &record);
  return record;
}

void NoteJoined(const TaskRecord& task, ParticipantRecord* record) {
  record->set_joined_revision(task.task().revision());
  record->set_waves_missed(task.rollout().open_waves_size() + (task.rollout().drawing() ? 1 : 0));
}

ParticipantRecord Rejoined(const ParticipantRecord& former, absl::string_view client, const TaskRecord& task,
                           bool connected, absl::Time now) {
  ParticipantRecord record = NewParticipant(client, task, now);
  Participant& participant = *record.mutable_participant();
  participant.set_version(former.participant().version() + 1);
  if (former.participant().has_duplicate_time()) {
    *participant.mutable_duplicate_time() = former.participant().duplicate_time();
  }
  if (connected) *participant.mutable_duplicate_time() = ToProto(now);
  if (!former.participant().has_revoke_time()) {
    // It is the same client, in the same waves.
    record.set_joined_revision(former.joined_revision());
    record.set_waves_missed(former.waves_missed());
  }
  return record;
}

}  // namespace parley::taskd
