#include "services/taskd/domain/participant.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/util/message_differencer.h"
#include "lib/base/error.h"
#include "services/taskd/domain/task.h"
#include "services/taskd/domain/time.h"

namespace parley::taskd {
namespace {

using task::v1::Declaration;
using task::v1::NegotiateRequest;
using task::v1::Participant;
using task::v1::Progress;
using task::v1::Task;
using task::v1::Window;
using Message = NegotiateRequest::MessageCase;
using Result = absl::StatusOr<std::optional<ParticipantRecord>>;

absl::Status Refuse(absl::string_view reason, absl::string_view sentence) {
  return Error(absl::StatusCode::kFailedPrecondition, reason, sentence);
}

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
    }
    return Unchanged();
  }

 private:
  const Participant& was() const { return record_.participant(); }
  Participant& is() { return *next_.mutable_participant(); }
  ParticipantState state() const { return was().state(); }
  bool Outdated() const { return was().revision() < task_.task().revision(); }
  absl::Time TaskEnd() const { return ToTime(task_.task().expire_time()); }

  bool Same() const { return google::protobuf::util::MessageDifferencer::Equals(record_, next_); }

  static Result Unchanged() { return std::optional<ParticipantRecord>(); }

  absl::Status NoTransition(absl::string_view what) const {
    return Refuse("NO_TRANSITION", absl::StrCat("a client that is ", Show(state()), " can not ", what,
                                                "; declare again on a new stream to go on from there"));
  }

  // Ends the step: one version, and the lease of the state that was entered.
  Result Done() {
    is().set_version(was().version() + 1);
    *is().mutable_update_time() = ToProto(now_);
    return std::optional<ParticipantRecord>(std::move(next_));
  }

  Result Enter(ParticipantState state, absl::string_view reason = "", absl::string_view detail = "") {
    is().set_state(state);
    is().set_reason(std::string(reason));
    is().set_detail(std::string(detail));
    is().clear_lost_state();
    next_.clear_retry_time();
    Lease(state);
    return Done();
  }

  void Lease(ParticipantState state) {
    if (HasEnded(state)) {
      is().clear_lease_time();
      return;
    }
    const task::v1::Leases& leases = task_.task().leases();
    absl::Time end = TaskEnd();
    if (state == Participant::STATE_OFFERED) end = std::min(end, now_ + ToDuration(leases.answer()));
    if (state == Participant::STATE_ACCEPTED || state == Participant::STATE_TRANSFERRING) {
      end = now_ + ToDuration(leases.transfer());
    }
    if (state == Participant::STATE_STAGED || IsApplying(state)) {
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
    if (!HasEnded(state()) && !IsApplying(Place(was()))) {
      if (TaskHasEnded(task_.task().state())) return OnTaskEnded();
      if (Outdated() && record_.has_declaration()) return Evaluate();
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

  // What the client is may have changed; where it stands only when it waits for an offer, or was away.
  Result OnDeclare(const Declaration& declaration) {
    if (was().has_revoke_time()) return Unchanged();
    *next_.mutable_declaration() = declaration;
    next_.mutable_declaration()->clear_labels();
    next_.mutable_declaration()->clear_facts();
    if (!declaration.labels().empty()) *is().mutable_labels() = declaration.labels();
    *is().mutable_facts() = declaration.facts();
    is().set_installed_digest(declaration.installed_digest());
    if (TaskHasEnded(task_.task().state()) && !IsApplying(Place(was()))) {
      if (Outdated() || !HasEnded(state())) return OnTaskEnded();
      return Unchanged();
    }
    if (state() == Participant::STATE_LOST && !(Outdated() && !IsApplying(Place(was())))) {
      return Enter(was().lost_state());
    }
    if (state() == Participant::STATE_JOINED || state() == Participant::STATE_QUEUED ||
        state() == Participant::STATE_INELIGIBLE || OfferIsDue()) {
      return Evaluate();
    }
    if (Same()) return Unchanged();
    return Done();
  }

  // Something may be offered to who waits for it, and a new revision to all but those in the middle of applying.
  bool OfferIsDue() const {
    if (TaskHasEnded(task_.task().state()) || was().has_revoke_time()) return false;
    if (!next_.has_declaration()) return false;
    if (Outdated()) return !IsApplying(Place(was()));
    const bool open = task_.task().state() == Task::STATE_OPEN;
    switch (state()) {
      case Participant::STATE_QUEUED:
        return open && now_ >= ToTime(record_.retry_time());
      case Participant::STATE_DEFERRED:
        return now_ >= ToTime(was().deferred_until());
      case Participant::STATE_COUNTERED:
        return open;
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
    const Task& task = task_.task();
    if (Outdated()) {
      is().set_deferrals(0);
      is().set_attempt(0);
      is().clear_deferred_until();
      is().set_transferred_bytes(0);
      next_.set_counters(0);
      next_.clear_window();
      next_.clear_checking_connection();
    }
    is().set_revision(task.revision());
    if (task.state() == Task::STATE_SCHEDULED) return Queue(ToTime(task.start_time()), "not_started");
    const Declaration& declaration = next_.declaration();
    const auto& encodings = declaration.encodings();
    if (std::find(encodings.begin(), encodings.end(), "zstd") == encodings.end()) return Exclude("encoding");
    if (declaration.installed_digest() == task.payload_digest()) return Enter(Participant::STATE_UP_TO_DATE);
    if (declaration.installed_revision() > task.revision()) return Exclude("newer_revision");
    // 0 is what a client says that does not know.
    if (declaration.free_bytes() > 0 && declaration.free_bytes() < task.payload_bytes()) return Exclude("no_space");
    if (state() != Participant::STATE_COUNTERED || !Open(next_.window())) {
      next_.clear_window();
      if (declaration.windows_size() > 0) {
        const Window* const window = NextWindow();
        if (window == nullptr) return Exclude("outside_window");
        if (ToTime(window->start_time()) > now_) return Queue(ToTime(window->start_time()), "outside_window");
        *next_.mutable_window() = *window;
      }
    }
    if (task.state() == Task::STATE_PAUSED) {
      if (state() == Participant::STATE_COUNTERED) return Unchanged();
      return Queue(absl::InfinitePast(), "paused");
    }
    return Offer();
  }

  Result Exclude(absl::string_view reason) {
    return Enter(Participant::STATE_INELIGIBLE, reason, ExplainReason(reason));
  }

  // Waits, and says so again only when something about it is new.
  Result Queue(absl::Time retry, absl::string_view reason) {
    if (state() == Participant::STATE_QUEUED && !Outdated() && was().reason() == reason &&
        (retry == absl::InfinitePast() ? !record_.has_retry_time() : ToTime(record_.retry_time()) == retry) && Same()) {
      return Unchanged();
    }
    is().set_state(Participant::STATE_QUEUED);
    is().set_reason(std::string(reason));
    is().clear_detail();
    is().clear_lost_state();
    next_.clear_retry_time();
    if (retry != absl::InfinitePast()) *next_.mutable_retry_time() = ToProto(retry);
    Lease(Participant::STATE_QUEUED);
    return Done();
  }

  Result Offer() {
    is().set_attempt(is().attempt() + 1);
    is().set_transferred_bytes(0);
    is().clear_deferred_until();
    next_.clear_checking_connection();
    next_.set_offered_digest(task_.task().payload_digest());
    absl::Time deadline = std::min(TaskEnd(), ToTime(task_.manifest_expire_time()));
    if (next_.has_window()) deadline = std::min(deadline, ToTime(next_.window().end_time()));
    *next_.mutable_offer_deadline() = ToProto(deadline);
    return Enter(Participant::STATE_OFFERED);
  }

  // The earliest window that has not closed and opens before the task ends.
  const Window* NextWindow() const {
    const Window* best = nullptr;
    for (const Window& window : next_.declaration().windows()) {
      if (!Open(window)) continue;
      if (best == nullptr || ToTime(window.start_time()) < ToTime(best->start_time())) best = &window;
    }
    return best;
  }

  bool Open(const Window& window) const {
    const absl::Time start = ToTime(window.start_time());
    const absl::Time end = ToTime(window.end_time());
    return start < end && end > now_ && start < TaskEnd();
  }

  Result OnAccept() {
    if (state() != Participant::STATE_OFFERED) return NoTransition("accept an offer");
    // A paused task makes no one begin: the offer is taken back and comes again.
    if (task_.task().state() != Task::STATE_OPEN) return Evaluate();
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
      return Refuse("DEFERRALS_EXHAUSTED",
                    absl::StrCat("the offer was deferred ", was().deferrals(), " times already; accept it",
                                 task_.task().forced() ? "" : " or decline it"));
    }
    if (until >= std::min(TaskEnd(), ToTime(task_.manifest_expire_time()))) {
      return Refuse("DEFERRAL_TOO_LONG", absl::StrCat("the update must be applied before ", ShowTime(TaskEnd()),
                                                      "; defer to an earlier time"));
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
    if (!Open(counter.window()) || record_.counters() >= kMaxCounters) return Unchanged();
    next_.set_counters(record_.counters() + 1);
    *next_.mutable_window() = counter.window();
    if (task_.task().state() != Task::STATE_OPEN) {
      return Enter(Participant::STATE_COUNTERED, "countered", counter.reason());
    }
    return Offer();
  }

  Result OnDecline(const task::v1::Declination& declination) {
    if (state() != Participant::STATE_OFFERED) return NoTransition("decline an offer");
    if (task_.task().forced()) {
      return Refuse("TASK_FORCED", "this task is forced and can not be declined; accept its offer, or defer it");
    }
    return Enter(Participant::STATE_DECLINED, declination.code(), declination.detail());
  }

  Result OnReport(const Progress& progress) {
    if (!MayReport(state(), progress.state())) {
      return NoTransition(absl::StrCat("report ", Show(progress.state())));
    }
    is().set_transferred_bytes(std::max(was().transferred_bytes(), progress.transferred_bytes()));
    if (progress.state() == state()) return OnMoreBytes();
    if (progress.state() == Participant::STATE_CHECKING) next_.set_checking_connection(std::string(event_.connection));
    const bool failed = progress.state() == Participant::STATE_ROLLING_BACK || HasEnded(progress.state());
    if (!failed) return Enter(progress.state());
    // The reason of a roll-back that was given at its start stands when its end names none.
    const bool again = progress.reason().empty() && state() == Participant::STATE_ROLLING_BACK;
    return Enter(progress.state(), again ? was().reason() : progress.reason(),
                 again && progress.detail().empty() ? was().detail() : progress.detail());
  }

  // Bytes alone are no change: the version stays, and the record is written now and then.
  Result OnMoreBytes() {
    if (state() != Participant::STATE_TRANSFERRING || is().transferred_bytes() == was().transferred_bytes()) {
      return Unchanged();
    }
    const absl::Duration checkpoint = std::min(kProgressCheckpoint, ToDuration(task_.task().leases().transfer()) / 4);
    if (now_ - ToTime(was().update_time()) < checkpoint) return Unchanged();
    Lease(state());
    *is().mutable_update_time() = ToProto(now_);
    return std::optional<ParticipantRecord>(std::move(next_));
  }

  static bool MayReport(ParticipantState from, ParticipantState to) {
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

  Result OnConfirm(const task::v1::ConfirmRequest& confirm) {
    if (confirm.attempt() != was().attempt() || Place(was()) != Participant::STATE_CHECKING) {
      const bool repeated = state() == Participant::STATE_CONFIRMED && confirm.attempt() == was().attempt() &&
                            confirm.installed_digest() == record_.offered_digest();
      if (repeated) return Unchanged();
      return Refuse("NOT_CHECKING", absl::StrCat("only a client that is CHECKING in attempt ", was().attempt(),
                                                 " can confirm it; this one is ", Show(state())));
    }
    if (event_.connection == record_.checking_connection()) {
      return Refuse("SAME_CONNECTION",
                    "the confirmation came over the connection that reported CHECKING; connect anew and repeat it");
    }
    if (confirm.installed_digest() != record_.offered_digest()) {
      return Refuse("DIGEST_DIFFERS",
                    "what is installed has another digest than the manifest; roll back and report it");
    }
    is().set_installed_digest(confirm.installed_digest());
    is().set_confirmed_revision(std::max(was().confirmed_revision(), was().revision()));
    return Enter(Participant::STATE_CONFIRMED);
  }

  Result OnLeaseRanOut() {
    if (HasEnded(state()) || was().version() != event_.version) return Unchanged();
    const ParticipantState place = Place(was());
    const absl::string_view reason = place == Participant::STATE_OFFERED ? "answer_lease"
                                     : place == Participant::STATE_ACCEPTED || place == Participant::STATE_TRANSFERRING
                                         ? "transfer_lease"
                                     : IsWorking(place) ? "apply_lease"
                                                        : "task_expired";
    return Enter(Participant::STATE_TIMED_OUT, reason, ExplainReason(reason));
  }

  Result OnSessionLost() {
    if (!IsWorking(state()) || was().version() != event_.version) return Unchanged();
    // The lease of where it stopped goes on.
    is().set_lost_state(state());
    is().set_state(Participant::STATE_LOST);
    return Done();
  }

  Result OnTaskEnded() {
    if (!TaskHasEnded(task_.task().state()) || state() == Participant::STATE_CANCELED) return Unchanged();
    if (HasEnded(state()) && !Outdated()) return Unchanged();
    if (task_.ended_by_time()) {
      is().set_revision(task_.task().revision());
      return Enter(Participant::STATE_TIMED_OUT, "task_expired", ExplainReason("task_expired"));
    }
    if (IsApplying(Place(was()))) return Unchanged();
    is().set_revision(task_.task().revision());
    const absl::string_view reason = EndReason(task_.task().state());
    return Enter(Participant::STATE_CANCELED, reason,
                 task_.end_reason().empty() ? ExplainReason(reason) : task_.end_reason());
  }

  Result OnRevoked() {
    if (was().has_revoke_time()) return Unchanged();
    *is().mutable_revoke_time() = ToProto(now_);
    if (HasEnded(state()) && !Outdated()) return Done();
    is().set_revision(task_.task().revision());
    return Enter(Participant::STATE_CANCELED, "revoked",
                 event_.reason.empty() ? ExplainReason("revoked") : std::string(event_.reason));
  }

  // A client that stands still gets an offer as soon as it is connected. One of an older revision gets one anyway.
  Result OnRetry() {
    if (TaskHasEnded(task_.task().state()) || was().has_revoke_time() || Outdated()) return Unchanged();
    switch (state()) {
      case Participant::STATE_INELIGIBLE:
      case Participant::STATE_DECLINED:
      case Participant::STATE_ROLLED_BACK:
      case Participant::STATE_ROLLBACK_FAILED:
      case Participant::STATE_TIMED_OUT:
        return Enter(Participant::STATE_QUEUED, "retry", ExplainReason("retry"));
      default:
        return Unchanged();
    }
  }

  const ParticipantRecord& record_;
  const Event& event_;
  const TaskRecord& task_;
  const absl::Time now_;
  ParticipantRecord next_;
};

}  // namespace

absl::StatusOr<std::optional<ParticipantRecord>> Advance(const ParticipantRecord& record, const Event& event,
                                                         const TaskRecord& task, absl::Time now) {
  return Machine(record, event, task, now).Run();
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
  return record;
}

bool HasEnded(ParticipantState state) {
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

bool IsWorking(ParticipantState state) {
  return state == Participant::STATE_ACCEPTED || state == Participant::STATE_TRANSFERRING ||
         state == Participant::STATE_STAGED || IsApplying(state);
}

bool IsApplying(ParticipantState state) {
  return state == Participant::STATE_APPLYING || state == Participant::STATE_CHECKING ||
         state == Participant::STATE_ROLLING_BACK;
}

ParticipantState Place(const Participant& participant) {
  return participant.state() == Participant::STATE_LOST ? participant.lost_state() : participant.state();
}

bool MayFetch(const Participant& participant) { return IsWorking(Place(participant)); }

std::string ExplainReason(absl::string_view code) {
  if (code == "encoding") return "the client can not take zstd; update the client";
  if (code == "newer_revision") return "a newer revision than the task's is installed";
  if (code == "no_space") return "the payload is larger than the client's free space";
  if (code == "outside_window") return "no window of the client's opens before the task ends";
  if (code == "not_started") return "the task has not started yet";
  if (code == "paused") return "the task is paused";
  if (code == "retry") return "another attempt was asked for; it comes when the client is connected";
  if (code == "revoked") return "the client's key was revoked";
  if (code == "answer_lease") return "the offer was not answered in time";
  if (code == "transfer_lease") return "the transfer made no progress for too long";
  if (code == "apply_lease") return "applying took too long";
  if (code == "task_expired") return "the task's time is over";
  if (code == "task_aborted") return "the task was aborted";
  if (code == "task_halted") return "the task was halted after too many failures";
  if (code == "task_superseded") return "another task took its place";
  if (code == "task_completed") return "the task was completed without this client";
  return std::string(code);
}

}  // namespace parley::taskd
