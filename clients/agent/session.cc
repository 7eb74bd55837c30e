#include "clients/agent/session.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "clients/agent/operator_check.h"
#include "clients/agent/policy.h"
#include "lib/base/error.h"
#include "lib/payload/manifest.h"

namespace parley::agent {
namespace {

using task::v1::NegotiateRequest;
using task::v1::NegotiateResponse;
using task::v1::Offer;
using task::v1::Participant;
using task::v1::Task;

// Answers one after another that change nothing: this client and the server do not understand one another.
constexpr int kMostUnchanged = 20;

absl::Time TimeOf(const google::protobuf::Timestamp& timestamp) {
  return absl::FromUnixSeconds(timestamp.seconds()) + absl::Nanoseconds(timestamp.nanos());
}

void SetTime(absl::Time time, google::protobuf::Timestamp* timestamp) {
  timestamp->set_seconds(absl::ToUnixSeconds(time));
}

bool HasEnded(Task::State state) {
  return state != Task::STATE_UNSPECIFIED && state != Task::STATE_SCHEDULED && state != Task::STATE_OPEN &&
         state != Task::STATE_PAUSED;
}

// At least 1: 0 would say that nobody knows.
int64_t FreeBytes(const std::string& folder) {
  struct statvfs space;
  if (statvfs(folder.c_str(), &space) != 0) return 0;
  const uint64_t bytes = static_cast<uint64_t>(space.f_bavail) * space.f_frsize;
  return static_cast<int64_t>(std::clamp<uint64_t>(bytes, 1, uint64_t{1} << 60));
}

}  // namespace

Session::Session(const Options* options, Entry entry, TargetFolder* folder, Announcer announce,
                 Cancellation* cancellation)
    : options_(*options),
      entry_(std::move(entry)),
      folder_(folder),
      announce_(announce),
      cancellation_(cancellation),
      task_(absl::StrCat("tasks/", entry_.task)),
      retry_(*options) {}

absl::StatusOr<Outcome> Session::Run() {
  if (const absl::Status prepared = Prepare(); !prepared.ok()) {
    LeaveNothingPending(prepared);
    return prepared;
  }
  while (true) {
    const absl::Status status = cancellation_->cancelled() ? Stopped() : Converse();
    if (result_.has_value()) return *std::move(result_);
    absl::Duration wait;
    absl::Status next = status;
    if (!cancellation_->cancelled()) next = retry_.Next(status, &wait);
    if (next.ok() && update_->overdue()) {
      update_->RollBack("unconfirmed", std::string(status.message()), nullptr).IgnoreError();
    }
    if (next.ok()) {
      if (Reason(status) != "STREAM_ENDED") {
        announce_([&](Observer* o) { o->Disconnected(status, options_.clock->Now() + wait); });
      }
      next = cancellation_->Sleep(wait);
    }
    if (next.ok()) continue;
    LeaveNothingPending(next);
    if (result_.has_value()) return *std::move(result_);
    return next;
  }
}

absl::Status Session::Prepare() {
  ASSIGN_OR_RETURN(state_, TaskState::Open(options_.state_dir, entry_.task));
  update_.emplace(&options_, &announce_, state_.get(), folder_, cancellation_);
  if (const absl::Status opened = update_->Open(); !opened.ok()) {
    update_.reset();
    return opened;
  }
  entry_.target = folder_->target();
  return EnsureMember(options_, entry_, state_.get(), announce_, cancellation_);
}

void Session::LeaveNothingPending(const absl::Status& why) {
  if (!update_.has_value() || !update_->pending()) return;
  const auto& result = update_->result();
  if (result.has_value() && (result->unnoted || !result->error.ok())) return;
  if (cancellation_->cancelled()) {
    // The commands finish, and one try to confirm; it is refused when the server does not know of the swap yet.
    update_->Settle(nullptr).IgnoreError();
    if (!update_->pending()) {
      if (update_->result()->confirmed) {
        NegotiateResponse confirmed;
        confirmed.set_state(Participant::STATE_CONFIRMED);
        result_ = MakeOutcome(confirmed);
      }
      return;
    }
  }
  update_->RollBack("interrupted", std::string(why.message()), nullptr).IgnoreError();
}

absl::Status Session::Declare(Negotiation* negotiation) {
  NegotiateRequest request;
  task::v1::Declaration* declaration = request.mutable_declare();
  declaration->mutable_labels()->insert(options_.labels.begin(), options_.labels.end());
  declaration->mutable_facts()->insert(options_.facts.begin(), options_.facts.end());
  // What cannot be read is not what should be there: the offer comes, and its error says why.
  update_->Declare(declaration).IgnoreError();
  declaration->set_free_bytes(std::min(FreeBytes(state_->folder()), FreeBytes(folder_->place_path())));
  declaration->add_encodings("zstd");
  for (const Window& window : options_.policy.windows) {
    task::v1::Window* declared = declaration->add_windows();
    SetTime(window.start, declared->mutable_start_time());
    SetTime(window.end, declared->mutable_end_time());
  }
  return negotiation->Ask(std::move(request));
}

absl::Status Session::Converse() {
  ASSIGN_OR_RETURN(const auto channel, ConnectAsMember(state_->membership(), options_.clock));
  Negotiation negotiation(channel.get(), task_, cancellation_, options_.clock);
  RETURN_IF_ERROR(Declare(&negotiation));
  retry_.Reached();
  announce_([&](Observer* o) { o->Connected(state_->membership().address(), channel->dialer().protocol()); });
  int unchanged = 0;
  while (true) {
    if (negotiation.current().version() != last_version_) retry_.Progress();
    last_version_ = negotiation.current().version();
    unchanged = negotiation.current().unchanged() ? unchanged + 1 : 0;
    if (unchanged > kMostUnchanged) {
      return Error(absl::StatusCode::kFailedPrecondition, "NO_TRANSITION", "the server does not take what is reported");
    }
    const int64_t updates = negotiation.updates();
    const bool undecided = update_->pending() || update_->has_rollback();
    RETURN_IF_ERROR(Step(channel.get(), &negotiation));
    if (result_.has_value()) return absl::OkStatus();
    if (negotiation.updates() != updates || (undecided && !update_->pending())) continue;
    RETURN_IF_ERROR(negotiation.Next(absl::InfiniteFuture()).status());
  }
}

absl::Status Session::Step(transport::Channel* channel, Negotiation* negotiation) {
  if (update_->pending()) {
    RETURN_IF_ERROR(update_->Settle(negotiation));
    return AfterUpdate(negotiation);
  }
  if (update_->has_rollback()) RETURN_IF_ERROR(update_->ReportRollback(negotiation));
  switch (negotiation->current().state()) {
    case Participant::STATE_OFFERED:
      return OnOffer(negotiation);
    case Participant::STATE_ACCEPTED:
    case Participant::STATE_TRANSFERRING:
    case Participant::STATE_STAGED:
    case Participant::STATE_APPLYING:
    case Participant::STATE_CHECKING:
      return OnAccepted(channel, negotiation);
    case Participant::STATE_ROLLING_BACK: {
      // The note of it was lost; that the old set is installed was not.
      NegotiateRequest request;
      request.mutable_progress()->set_state(Participant::STATE_ROLLED_BACK);
      return negotiation->Ask(std::move(request));
    }
    case Participant::STATE_JOINED:
    case Participant::STATE_QUEUED:
    case Participant::STATE_DEFERRED:
    case Participant::STATE_COUNTERED:
    case Participant::STATE_LOST:
      OnWaiting(negotiation->current());
      return absl::OkStatus();
    default:
      OnEnded(negotiation->current());
      return absl::OkStatus();
  }
}

absl::Status Session::Verify(const Offer& offer) {
  if (manifest_.has_value() && offer.manifest().manifest() == manifest_bytes_ &&
      options_.clock->Now() < TimeOf(manifest_->expire_time())) {
    return absl::OkStatus();
  }
  manifest_.reset();
  ASSIGN_OR_RETURN(manifest_, payload::VerifyManifest(offer.manifest(), state_->membership().verification_key(), task_,
                                                      options_.clock->Now()));
  manifest_bytes_ = offer.manifest().manifest();
  return absl::OkStatus();
}

absl::Status Session::OnOffer(Negotiation* negotiation) {
  if (!negotiation->offer().has_value()) {
    return Error(absl::StatusCode::kInternal, "OFFER_MISSING", "the server made an offer without saying what");
  }
  const Offer offer = *negotiation->offer();
  absl::Status status = Verify(offer);
  if (status.ok()) status = update_->Check(*manifest_);
  std::optional<trust::Operator> signer;
  if (status.ok()) {
    absl::StatusOr<std::optional<trust::Operator>> checked = CheckOperator(options_, offer.manifest());
    // Without a chain nothing can be said of the offer, good or bad.
    if (!checked.ok() && FaultOf(checked.status()) != Fault::kFinal) return checked.status();
    status = checked.status();
    if (checked.ok()) signer = *std::move(checked);
  }
  if (!status.ok()) return Refuse(negotiation, status, offer.forced());
  if (offered_attempt_ != negotiation->current().attempt()) {
    offered_attempt_ = negotiation->current().attempt();
    if (signer.has_value()) {
      announce_([&](Observer* o) { o->OperatorVerified(task_, signer->user_name, signer->device_label); });
    }
    announce_([&](Observer* o) { o->Offered(*manifest_, TimeOf(offer.deadline()), offer.forced()); });
  }
  return Answer(negotiation, offer);
}

absl::Status Session::Answer(Negotiation* negotiation, const Offer& offer) {
  OfferTerms terms;
  terms.deadline = TimeOf(offer.deadline());
  terms.forced = offer.forced();
  terms.deferrals_left = offer.deferrals_left();
  terms.has_window = offer.has_window();
  terms.counter_refused = countered_attempt_ == negotiation->current().attempt();
  const agent::Answer answer = AnswerTo(options_.policy, terms, options_.clock->Now());
  NegotiateRequest request;
  switch (answer.kind) {
    case Answer::Kind::kAccept:
      request.mutable_accept();
      break;
    case Answer::Kind::kDefer:
      SetTime(answer.until, request.mutable_defer()->mutable_until());
      request.mutable_defer()->set_reason(answer.reason);
      break;
    case Answer::Kind::kCounter:
      countered_attempt_ = negotiation->current().attempt();
      SetTime(answer.window.start, request.mutable_counter()->mutable_window()->mutable_start_time());
      SetTime(answer.window.end, request.mutable_counter()->mutable_window()->mutable_end_time());
      request.mutable_counter()->set_reason(answer.reason);
      break;
    case Answer::Kind::kDecline:
      return Decline(negotiation, "policy", answer.reason);
    case Answer::Kind::kRefuseForced:
      return Refuse(negotiation,
                    Error(absl::StatusCode::kFailedPrecondition, "FORCED",
                          "this client declines every offer, but the task is forced; it was not applied"),
                    true);
  }
  return negotiation->Ask(std::move(request));
}

absl::Status Session::Decline(Negotiation* negotiation, const std::string& code, const std::string& detail) {
  announce_([&](Observer* o) { o->Declined(task_, code, detail); });
  NegotiateRequest request;
  request.mutable_decline()->set_code(code);
  request.mutable_decline()->set_detail(Detail(detail));
  return negotiation->Ask(std::move(request));
}

// Tells the operator why this client will not apply what it was offered.
absl::Status Session::Refuse(Negotiation* negotiation, const absl::Status& why, bool forced) {
  refusal_ = why;
  const std::string detail = std::string(why.message());
  if (!forced) return Decline(negotiation, Reason(why) == "DISK_FULL" ? "no_space" : "other", detail);
  // One that is forced cannot be declined, but it can fail.
  announce_([&](Observer* o) { o->Declined(task_, ReasonCode(why), detail); });
  NegotiateRequest request;
  request.mutable_accept();
  RETURN_IF_ERROR(negotiation->Ask(std::move(request)));
  if (negotiation->current().state() != Participant::STATE_ACCEPTED) return absl::OkStatus();
  NegotiateRequest failed;
  failed.mutable_progress()->set_state(Participant::STATE_ROLLED_BACK);
  failed.mutable_progress()->set_reason(ReasonCode(why));
  failed.mutable_progress()->set_detail(Detail(detail));
  return negotiation->Ask(std::move(failed));
}

absl::Status Session::OnAccepted(transport::Channel* channel, Negotiation* negotiation) {
  absl::Status status =
      Error(absl::StatusCode::kInternal, "OFFER_MISSING", "the server says that an offer was accepted, but not which");
  if (negotiation->offer().has_value()) status = Verify(*negotiation->offer());
  if (status.ok()) status = update_->Check(*manifest_);
  if (!status.ok()) {
    refusal_ = status;
    NegotiateRequest request;
    request.mutable_progress()->set_state(Participant::STATE_ROLLED_BACK);
    request.mutable_progress()->set_reason(ReasonCode(status));
    request.mutable_progress()->set_detail(Detail(status.message()));
    return negotiation->Ask(std::move(request));
  }
  update_->ForgetResult();
  RETURN_IF_ERROR(update_->Carry(channel, negotiation, *manifest_, *negotiation->offer()));
  return AfterUpdate(negotiation);
}

absl::Status Session::AfterUpdate(Negotiation* negotiation) {
  const auto& result = update_->result();
  if (!result.has_value()) return absl::OkStatus();
  if (!result->error.ok() && (result->unnoted || update_->pending())) {
    // Neither trying again nor another revision would help: a person must look.
    result_ = result->error;
    return absl::OkStatus();
  }
  if (!result->confirmed) return absl::OkStatus();
  if (entry_.follow) return Declare(negotiation);
  NegotiateResponse confirmed = negotiation->current();
  confirmed.set_state(Participant::STATE_CONFIRMED);
  result_ = MakeOutcome(confirmed);
  return absl::OkStatus();
}

void Session::OnWaiting(const NegotiateResponse& current) {
  const absl::Time until = current.has_retry_time() ? TimeOf(current.retry_time()) : absl::InfiniteFuture();
  const std::string told = absl::StrCat(current.state(), " ", current.reason(), " ", absl::FormatTime(until));
  if (std::exchange(told_, told) == told) return;
  announce_([&](Observer* o) { o->Waiting(task_, current.reason(), until); });
}

Outcome Session::MakeOutcome(const NegotiateResponse& current) const {
  Outcome outcome;
  outcome.task = task_;
  outcome.state = current.state();
  outcome.task_state = current.task_state();
  outcome.reason = current.reason();
  outcome.revision = manifest_.has_value() ? manifest_->revision() : update_->installed_revision();
  if (outcome.ok()) outcome.revision = update_->installed_revision();
  if (const auto& result = update_->result(); result.has_value() && !result->confirmed) {
    outcome.reason = result->reason;
    outcome.detail = result->detail;
  }
  return outcome;
}

void Session::OnEnded(const NegotiateResponse& current) {
  const bool task_ended = HasEnded(current.task_state());
  const std::string told =
      absl::StrCat(current.state(), " ", current.attempt(), " ", current.version(), " ", task_ended);
  if (std::exchange(told_, told) != told) {
    if (current.state() == Participant::STATE_UP_TO_DATE) {
      announce_([&](Observer* o) { o->UpToDate(task_, update_->installed_revision()); });
    }
    const bool by_server = current.state() == Participant::STATE_INELIGIBLE ||
                           current.state() == Participant::STATE_CANCELED ||
                           current.state() == Participant::STATE_TIMED_OUT;
    if (by_server || task_ended) {
      announce_([&](Observer* o) { o->Ended(task_, current.task_state(), current.state(), current.reason()); });
    }
  }
  if (entry_.follow && !task_ended && current.state() != Participant::STATE_CANCELED) return;
  const auto& result = update_->result();
  if (!refusal_.ok()) {
    result_ = refusal_;
  } else if (result.has_value() && !result->error.ok() && current.state() == Participant::STATE_ROLLED_BACK) {
    result_ = result->error;
  } else {
    result_ = MakeOutcome(current);
  }
}

}  // namespace parley::agent
