// What a session does in each state that the server sees it in.
#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "clients/agent/policy.h"
#include "clients/agent/task_session.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/task/states.h"

namespace parley::agent {
namespace {

using task::v1::Offer;
using task::v1::Participant;

absl::Status OfferMissing() {
  return Error(absl::StatusCode::kInternal, "OFFER_MISSING", "the server speaks of an offer without saying what it is");
}

}  // namespace

absl::Status TaskSession::Step() {
  if (pending()) {
    if (must_wait_to_resume()) return absl::OkStatus();
    RETURN_IF_ERROR(update_->ResumePending(declared_.installed_digest()));
    return AfterUpdate();
  }
  if (owner_ != nullptr) {
    if (const auto rollback = owner_->view(task_).rollback; rollback.has_value()) {
      RETURN_IF_ERROR(update_->ReportRollback(*rollback));
      // What a former process left is reported now, and a person that gave the command again asks for another attempt.
      if (std::exchange(former_rollback_, false) && retry_wanted_) {
        update_->ForgetResult();
        return Declare();
      }
      RETURN_IF_ERROR(AfterUpdate());
    }
  }
  switch (state()) {
    case Participant::STATE_OFFERED:
    case Participant::STATE_ACCEPTED:
    case Participant::STATE_TRANSFERRING:
    case Participant::STATE_STAGED:
    case Participant::STATE_APPLYING:
    case Participant::STATE_CHECKING:
      return OnOffer();
    case Participant::STATE_ROLLING_BACK:
      return ReportUnrecordedRollback();
    case Participant::STATE_JOINED:
    case Participant::STATE_QUEUED:
    case Participant::STATE_DEFERRED:
    case Participant::STATE_COUNTERED:
    case Participant::STATE_LOST:
      OnWaiting();
      return absl::OkStatus();
    default:
      return OnStanding();
  }
}

// The record of it was lost; whether the old set works was not. Nothing is known of a target that cannot be opened now.
absl::Status TaskSession::ReportUnrecordedRollback() {
  if (owner_ == nullptr) return absl::OkStatus();
  const TargetOwner::TaskView installed = owner_->view(task_);
  const bool works = installed.revision == 0 || installed.applied;
  return negotiation_->Report({.state = works ? Participant::STATE_ROLLED_BACK : Participant::STATE_ROLLBACK_FAILED})
      .status();
}

// The offer that is hindered stands still, at a server that does not know of hindrances.
bool TaskSession::must_wait() const { return hindrances_.waits() && hindered_attempt_ == current().attempt(); }

std::pair<std::string, int32_t> TaskSession::CurrentStanding() const {
  return {offer_.has_value() ? offer_->manifest().manifest() : "", current().attempt()};
}

// It waits until the next recheck, whatever the server says; only another attempt or revision is asked for by a person.
bool TaskSession::must_wait_to_resume() const { return hindrances_.waits() && stuck_at_ == CurrentStanding(); }

OfferCheck::Verdict TaskSession::Examine() {
  const absl::Status opened = OpenTarget();
  if (!opened.ok()) return {opened, BlameOf(opened)};
  if (!offer_.has_value()) return {};
  return offer_check_.Judge(*offer_, state_->membership().verification_key(), *owner_);
}

// With an offer that is to be answered, or that was accepted.
absl::Status TaskSession::OnOffer() {
  if (must_wait()) return absl::OkStatus();
  if (!offer_.has_value()) return OfferMissing();
  const Offer offer = *offer_;
  const OfferCheck::Verdict verdict = Examine();
  if (!verdict.status.ok() && verdict.blame != Blame::kSet) return DeclareHindrance(verdict.status);
  hindrances_.End();
  refusal_ = verdict.status;
  if (state() == Participant::STATE_OFFERED) {
    if (!refusal_.ok()) return Refuse(verdict.status, offer.forced());
    AnnounceOffer(offer);
    return Answer(offer);
  }
  if (!refusal_.ok()) return negotiation_->ReportFailure(refusal_);
  RETURN_IF_ERROR(update_->Run(*offer_check_.manifest(), offer));
  return AfterUpdate();
}

void TaskSession::AnnounceOffer(const Offer& offer) {
  const task::v1::Manifest& manifest = *offer_check_.manifest();
  const std::pair<int64_t, int32_t> offered(manifest.revision(), current().attempt());
  if (std::exchange(offered_, offered) == offered) return;
  if (const auto& signer = offer_check_.signer(); signer.has_value()) {
    announce_(event::OperatorVerified{task_, signer->user_name, signer->device_label});
  }
  const auto [method, why] = owner_->choice();
  announce_(event::MethodChosen{task_, method, why});
  announce_(event::Offered{task_, manifest.revision(), manifest.files_size(), manifest.size(), ToTime(offer.deadline()),
                           offer.forced()});
}

absl::Status TaskSession::Answer(const Offer& offer) {
  OfferTerms terms;
  terms.deadline = ToTime(offer.deadline());
  terms.forced = offer.forced();
  terms.deferrals_left = offer.deferrals_left();
  terms.has_window = offer.has_window();
  terms.counter_refused = countered_attempt_ == current().attempt();
  const agent::Answer answer = AnswerTo(options_.policy, terms, options_.clock->Now());
  switch (answer.kind) {
    case Answer::Kind::kAccept:
      return negotiation_->Accept();
    case Answer::Kind::kDefer:
      return negotiation_->Defer(answer.until, answer.reason);
    case Answer::Kind::kCounter:
      countered_attempt_ = current().attempt();
      return negotiation_->CounterOffer(answer.window.start, answer.window.end, answer.reason);
    case Answer::Kind::kDecline:
      return Decline("policy", answer.reason);
    case Answer::Kind::kRefuseForced:
      break;
  }
  return Refuse(Error(absl::StatusCode::kFailedPrecondition, "FORCED",
                      "this client declines every offer, but the task is forced; it was not applied"),
                true);
}

absl::Status TaskSession::Decline(const std::string& code, const std::string& detail) {
  announce_(event::Declined{task_, code, detail});
  return negotiation_->Decline(code, detail);
}

// Tells the operator why this client will not apply what it was offered.
absl::Status TaskSession::Refuse(const absl::Status& why, bool forced) {
  refusal_ = why;
  const std::string detail(why.message());
  if (!forced) return Decline("other", detail);
  // One that is forced cannot be declined, but it can fail.
  announce_(event::Declined{task_, ReasonCode(why), detail});
  RETURN_IF_ERROR(negotiation_->Accept());
  return state() == Participant::STATE_ACCEPTED ? negotiation_->ReportFailure(why) : absl::OkStatus();
}

absl::Status TaskSession::AfterUpdate() {
  const Update::Result result = update_->result();
  const bool was_stuck = std::exchange(stuck_at_, std::nullopt).has_value();
  switch (result.end) {
    case Update::End::kOpen:
      return absl::OkStatus();
    case Update::End::kConfirmed:
      hindrances_.Reset();
      unrecorded_ = false;
      confirmed_ = owner_->view(task_).revision;
      return credentials_.follow ? Declare() : EndConfirmed();
    case Update::End::kHindered:
      update_->ForgetResult();
      return DeclareHindrance(result.error);
    case Update::End::kUnrecorded:
      // It is confirmed, and will be recorded at the next recheck or by the next process.
      update_->ForgetResult();
      unrecorded_ = true;
      stuck_at_ = CurrentStanding();
      RecordHindrance(result.error);
      return absl::OkStatus();
    case Update::End::kRefused:
      refusal_ = result.error;
      return absl::OkStatus();
    case Update::End::kRolledBack:
      break;
  }
  if (!result.error.ok() && pending()) {
    // It is tried again, since what is in the way may go. Only a person moves what keeps the old set from coming back;
    // room for its command comes by itself.
    stuck_at_ = CurrentStanding();
    RecordHindrance(result.error);
    const bool passes = Reason(result.error) == "HOOK_NOT_STARTED" && !hindrances_.lasts_too_long();
    if (!credentials_.follow && !passes) result_ = result.error;
    return absl::OkStatus();
  }
  declared_undecided_ = true;
  // What was not the set's fault is offered again once this client declares; not so while the old set does not work.
  if (result.passing && !result.failed) {
    update_->ForgetResult();
    RecordHindrance(Error(absl::StatusCode::kAborted, absl::AsciiStrToUpper(result.reason), result.detail));
    return absl::OkStatus();
  }
  if (!was_stuck) return absl::OkStatus();
  // What was in the way of the old set is gone.
  hindrances_.End();
  return Declare();
}

// The end, unless another revision has been published since this one was offered.
absl::Status TaskSession::EndConfirmed() {
  const Outcome outcome = MakeOutcome(Participant::STATE_CONFIRMED);
  const absl::Status declared = Declare();
  const bool holds = owner_ != nullptr && declared_.installed_digest() == owner_->view(task_).digest;
  const bool ended = task::HasEnded(current().task_state()) || state() == Participant::STATE_CANCELED;
  if (!declared.ok() || !holds || ended || task::IsInstalled(state())) result_ = outcome;
  return absl::OkStatus();
}

void TaskSession::OnWaiting() {
  const absl::Time until = current().has_retry_time() ? ToTime(current().retry_time()) : absl::InfiniteFuture();
  const std::string announced = absl::StrCat(current().state(), " ", current().reason(), " ", absl::FormatTime(until));
  if (std::exchange(announced_, announced) == announced) return;
  announce_(event::Waiting{task_, current().reason(), until});
}

// In a state that lasts: it says where the client stands, and may be left again by a declaration.
absl::Status TaskSession::OnStanding() {
  if (task::HasEnded(current().task_state()) || state() == Participant::STATE_CANCELED) return OnEnded();
  if (hindrances_.active()) return absl::OkStatus();
  // The answer to a declaration that does not hold any more says nothing of what is on the disk now.
  if (task::IsInstalled(state()) && (disk_changed_ || declared_undecided_)) return Declare();
  if (state() == Participant::STATE_TIMED_OUT && !std::exchange(declared_since_timeout_, true)) return Declare();
  if (state() == Participant::STATE_INELIGIBLE && absl::StrContains(current().reason(), "free space")) {
    RecordHindrance(Error(absl::StatusCode::kResourceExhausted, "DISK_FULL", current().reason()));
    return absl::OkStatus();
  }
  return OnEnded();
}

void TaskSession::AnnounceEnd(bool task_ended) {
  const std::string announced =
      absl::StrCat(state(), " ", current().attempt(), " ", current().version(), " ", task_ended);
  if (std::exchange(announced_, announced) == announced) return;
  const int64_t revision = owner_ == nullptr ? 0 : owner_->view(task_).revision;
  // A confirmation in this process was announced when it happened.
  const bool news = state() == Participant::STATE_CONFIRMED && confirmed_ != revision;
  if (state() == Participant::STATE_UP_TO_DATE || news) {
    confirmed_ = revision;
    announce_(event::UpToDate{task_, revision});
  }
  const bool by_server = state() == Participant::STATE_INELIGIBLE || state() == Participant::STATE_CANCELED ||
                         state() == Participant::STATE_TIMED_OUT;
  if (!by_server && !task_ended) return;
  announce_(event::Ended{task_, current().task_state(), state(), current().reason()});
}

// Only a server that takes what it remembers for what the disk has says so.
absl::Status TaskSession::CheckDrift() {
  if (!task::IsInstalled(state()) || owner_ == nullptr) return absl::OkStatus();
  const std::string expected = owner_->view(task_).digest;
  if (!declared_.installed_digest().empty() && declared_.installed_digest() == expected) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition, "DRIFTED",
               absl::StrCat("what was confirmed of ", task_, " is not what is in ", owner_->target(),
                            " now, and the server does not offer it again; upgrade the server, or publish a revision"));
}

absl::Status TaskSession::OnEnded() {
  const bool task_ended = task::HasEnded(current().task_state());
  const absl::Status drift = CheckDrift();
  if (drift.ok()) AnnounceEnd(task_ended);
  if (credentials_.follow && !task_ended && state() != Participant::STATE_CANCELED) {
    const std::string announced = absl::StrCat("drift ", current().version());
    if (!drift.ok() && std::exchange(announced_, announced) != announced) announce_(event::Failed{task_, drift});
    return absl::OkStatus();
  }
  if (!drift.ok()) {
    result_ = drift;
  } else if (!refusal_.ok()) {
    result_ = refusal_;
  } else {
    result_ = MakeOutcome(state());
  }
  return absl::OkStatus();
}

Outcome TaskSession::MakeOutcome(Participant::State state) const {
  const int64_t installed = owner_ == nullptr ? 0 : owner_->view(task_).revision;
  const auto& manifest = offer_check_.manifest();
  Outcome outcome;
  outcome.task = task_;
  outcome.state = state;
  outcome.revision = outcome.ok() || !manifest.has_value() ? installed : manifest->revision();
  if (negotiation_ != nullptr) outcome.task_state = current().task_state();
  if (outcome.ok()) return outcome;
  outcome.reason = StateCode(state);
  if (negotiation_ != nullptr) outcome.detail = current().reason();
  if (update_.has_value() && update_->result().end == Update::End::kRolledBack) {
    outcome.reason = update_->result().reason;
    outcome.detail = update_->result().detail;
  } else if (retry_ignored_ && !task::HasEnded(outcome.task_state)) {
    absl::StrAppend(&outcome.detail, outcome.detail.empty() ? "" : "; ",
                    "taskd is of an earlier version and does not offer it again: upgrade taskd, or publish a revision");
  }
  return outcome;
}

}  // namespace parley::agent
