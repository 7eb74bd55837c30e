#include "clients/agent/update.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "clients/agent/faults.h"
#include "clients/agent/hindrance.h"
#include "clients/agent/operator_check.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/payload/beneath.h"

namespace parley::agent {
namespace {

using task::v1::Manifest;
using task::v1::Participant;

constexpr absl::Duration kConfirmCallTimeout = absl::Seconds(20);
constexpr absl::Duration kLeastConfirmTimeout = absl::Seconds(1);
// When somebody waits for the agent to end.
constexpr absl::Duration kLastConfirmTimeout = absl::Seconds(5);
// How often the tree is built anew because somebody wrote to the target meanwhile.
constexpr int kMaxBuilds = 3;
// The wall clock may be set while a client waits for a time of day.
constexpr absl::Duration kCheckClockEvery = absl::Minutes(1);

std::string HookDetail(const HookResult& hook) {
  return Detail(
      absl::StrCat(hook.output, hook.output.empty() || hook.output.back() == '\n' ? "" : "\n", hook.status.message()));
}

// A command that could not be started says nothing of the set.
bool IsPassing(const absl::Status& status) { return Reason(status) != "HOOK_FAILED" && BlameOf(status) != Blame::kSet; }

// Makes the name of an environment variable: upper case, and '_' for what it may not hold.
std::string VariableName(absl::string_view prefix, absl::string_view key) {
  std::string name(prefix);
  for (const char c : key) name.push_back(absl::ascii_isalnum(c) ? absl::ascii_toupper(c) : '_');
  return name;
}

}  // namespace

Update::Update(const Options* options, const Announcer* announce, TaskState* state, TargetOwner* owner,
               const TargetOwner::Listener* listener, const std::unique_ptr<Negotiation>* negotiation,
               Cancellation* cancellation)
    : options_(*options),
      announce_(*announce),
      state_(state),
      owner_(owner),
      listener_(listener),
      negotiation_(*negotiation),
      cancellation_(cancellation),
      task_(absl::StrCat("tasks/", payload::LastPart(state->folder()))) {}

Update::~Update() { owner_->EndTurn(task_); }

Participant::State Update::state() const {
  return negotiation_ == nullptr ? Participant::STATE_UNSPECIFIED : negotiation_->current().state();
}

bool Update::server_is_applying() const {
  return state() == Participant::STATE_APPLYING || state() == Participant::STATE_CHECKING;
}

bool Update::pending() const {
  const std::optional<TargetOwner::Pending> pending = owner_->pending();
  return pending.has_value() && pending->task == task_;
}

bool Update::ReceivedSinceLastCall() { return std::exchange(received_, false); }

absl::StatusOr<bool> Update::AdvanceFrom(Participant::State from, Participant::State to) const {
  if (state() != from) return true;
  return negotiation_->Report({.state = to});
}

// The old set is installed still, which is what ROLLED_BACK says.
absl::Status Update::FailBeforeSwap(const absl::Status& why) {
  owner_->EndTurn(task_);
  if (BlameOf(why) != Blame::kSet) {
    result_ = Result{.end = End::kHindered, .error = why};
    return absl::OkStatus();
  }
  result_ = Result{.end = End::kRefused, .error = why};
  announce_(event::RollingBack{task_, ReasonCode(why), std::string(why.message())});
  announce_(event::RolledBack{task_, owner_->HoldsNothing()});
  return negotiation_->ReportFailure(why);
}

absl::Status Update::Run(const Manifest& manifest, const task::v1::Offer& offer) {
  ForgetResult();
  ASSIGN_OR_RETURN(const bool begun, AdvanceFrom(Participant::STATE_ACCEPTED, Participant::STATE_TRANSFERRING));
  if (!begun) return absl::OkStatus();
  absl::StatusOr<ChunkCache> store = ChunkCache::Open(ChunkFolder());
  if (!store.ok()) return FailBeforeSwap(store.status());
  do {
    chunk_lost_ = false;
    RETURN_IF_ERROR(Fetch(manifest, &*store));
    if (result_.end != End::kOpen) return absl::OkStatus();
    if (negotiation_->interrupted()) return negotiation_->Wait(absl::InfiniteDuration()).status();
    RETURN_IF_ERROR(Apply(manifest, offer, *store));
  } while (chunk_lost_);
  return absl::OkStatus();
}

absl::Status Update::Fetch(const Manifest& manifest, ChunkCache* store) {
  Transfer transfer(&announce_, cancellation_, negotiation_.get(), &manifest, store);
  const absl::Status status = transfer.Run(owner_->root_path(), owner_->view(task_).paths);
  received_ = received_ || transfer.received_bytes() > 0;
  RETURN_IF_ERROR(status);
  return transfer.failure().ok() ? absl::OkStatus() : FailBeforeSwap(transfer.failure());
}

// True when it is time to apply; false when the server has something else to say.
absl::StatusOr<bool> Update::WaitForWindow(const task::v1::Offer& offer) {
  if (!offer.has_window()) return true;
  const absl::Time start = ToTime(offer.window().start_time());
  bool announced = false;
  while (true) {
    const absl::Duration left = start - options_.clock->Now();
    if (left <= absl::ZeroDuration()) return true;
    if (!std::exchange(announced, true)) {
      announce_(event::Waiting{task_, "the window that was agreed on opens later", start});
    }
    ASSIGN_OR_RETURN(const bool heard, negotiation_->Wait(std::min(left, kCheckClockEvery)));
    if (heard) return false;
  }
}

// A server whose clock agrees does not wait for it either, so that this ends in one way or the other.
absl::Status Update::CheckTime(const Manifest& manifest, const task::v1::Offer& offer) const {
  const absl::Time last = std::min(ToTime(offer.deadline()), ToTime(manifest.expire_time()));
  if (options_.clock->Now() < last) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition, "DEADLINE_PASSED",
               absl::StrCat("by this machine's clock the time by which the update had to be applied, ",
                            absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", last, absl::UTCTimeZone()),
                            ", has passed; if it has not, mend the clock"));
}

// With every chunk in the store.
absl::Status Update::Apply(const Manifest& manifest, const task::v1::Offer& offer, const ChunkCache& store) {
  ASSIGN_OR_RETURN(const bool staged, AdvanceFrom(Participant::STATE_TRANSFERRING, Participant::STATE_STAGED));
  if (!staged) return absl::OkStatus();
  ASSIGN_OR_RETURN(const bool open, WaitForWindow(offer));
  if (!open) return absl::OkStatus();
  if (cancellation_->cancelled()) return Stopped();
  absl::Status status = CheckTime(manifest, offer);
  // Perhaps long after the offer: the operator that signed it may have been revoked since.
  if (status.ok()) status = CheckOperator(options_, offer.manifest()).status();
  if (status.ok()) status = owner_->BeginTurn(task_);
  if (!status.ok()) return FailBeforeSwap(status);
  const TargetOwner::Hold hold(owner_);
  RETURN_IF_ERROR(StageAndSwap(manifest, store));
  return pending() ? ResumePending("") : absl::OkStatus();
}

UpdatePlan Update::MakePlan() const {
  UpdatePlan plan;
  plan.task = task_;
  plan.attempt = negotiation_->current().attempt();
  plan.hooks = options_.hooks;
  plan.confirm_timeout = options_.confirm_timeout;
  plan.state_folder = state_->folder();
  for (const auto& [key, value] : negotiation_->labels()) plan.variables[VariableName("PARLEY_LABEL_", key)] = value;
  for (const auto& [key, value] : options_.facts) plan.variables[VariableName("PARLEY_FACT_", key)] = value;
  return plan;
}

absl::Status Update::StageAndSwap(const Manifest& manifest, const ChunkCache& store) {
  const auto read_chunk = [&store](absl::string_view digest) { return store.Read(digest); };
  for (int build = 1;; ++build) {
    const Method offered = owner_->choice().first;
    absl::Status status = owner_->Stage(MakePlan(), manifest, read_chunk);
    // What the offer said does not hold any more.
    if (const auto [method, why] = owner_->choice(); status.ok() && method != offered) {
      announce_(event::MethodChosen{task_, method, why});
    }
    chunk_lost_ = Reason(status) == "CHUNK_MISSING";
    if (chunk_lost_) return absl::OkStatus();
    if (!status.ok()) return FailBeforeSwap(status);
    ASSIGN_OR_RETURN(const bool applying, AdvanceFrom(Participant::STATE_STAGED, Participant::STATE_APPLYING));
    if (!applying) return absl::OkStatus();
    status = owner_->Swap();
    if (status.ok()) return absl::OkStatus();
    if (pending()) return RollBackFor(status);
    if (Reason(status) != "TARGET_CHANGED" || build == kMaxBuilds) return FailBeforeSwap(status);
  }
}

absl::Status Update::ResumePending(const std::string& declared_digest) {
  const TargetOwner::Hold hold(owner_);
  const std::optional<TargetOwner::Pending> pending = owner_->pending();
  if (!pending.has_value() || pending->task != task_) return absl::OkStatus();
  if (const auto& begun = pending->rollback; begun.has_value()) {
    return RollBack(begun->reason, begun->detail, begun->passing);
  }
  const bool connected = negotiation_ != nullptr;
  const bool same_attempt = !connected || negotiation_->current().attempt() == pending->attempt;
  const bool decided = state() == Participant::STATE_UP_TO_DATE && declared_digest == pending->digest;
  // Which set is CONFIRMED, the server says when it is confirmed once more.
  const bool waits = server_is_applying() || state() == Participant::STATE_CONFIRMED;
  const bool expected = !connected || (waits && same_attempt);
  if (!decided && !expected) {
    return RollBack(StateCode(state()), "the server does not wait for this update any more", /*passing=*/true);
  }
  // Whatever comes of it: the program should not wait for the network with its new files in place.
  const absl::Status reported = AdvanceFrom(Participant::STATE_APPLYING, Participant::STATE_CHECKING).status();
  if (!pending->applied) {
    if (pending->exhausted) {
      return RollBack("interrupted", "the apply command was running each time the agent was killed", /*passing=*/false);
    }
    bool passed = false;
    RETURN_IF_ERROR(RunCommands(&passed));
    if (!passed) return absl::OkStatus();
  }
  if (decided) return Commit();
  RETURN_IF_ERROR(reported);
  return Confirm();
}

absl::Status Update::RunCommands(bool* passed) {
  const HookResult check = owner_->RunCheck();
  if (!check.status.ok()) return RollBack("check_failed", HookDetail(check), IsPassing(check.status));
  if (!options_.hooks.check.empty()) announce_(event::CheckPassed{task_, check.duration});
  const absl::StatusOr<HookResult> apply = owner_->RunApply();
  if (!apply.ok()) return RollBackFor(apply.status());
  if (!apply->status.ok()) return RollBack("apply_failed", HookDetail(*apply), IsPassing(apply->status));
  announce_(event::Applied{task_, apply->duration});
  *passed = true;
  return absl::OkStatus();
}

// The old set should be back when the time to confirm is over, and not a call later.
absl::Duration Update::TimeToConfirm() const {
  if (cancellation_->cancelled()) return kLastConfirmTimeout;
  const std::optional<TargetOwner::Pending> pending = owner_->pending();
  const absl::Duration left = pending.has_value() ? pending->confirm_timeout - pending->undecided : kConfirmCallTimeout;
  // With none left it is the owner that has given it a moment.
  return left <= absl::ZeroDuration() ? kConfirmCallTimeout
                                      : std::clamp(left, kLeastConfirmTimeout, kConfirmCallTimeout);
}

absl::Status Update::CallConfirm(const std::string& digest, int32_t attempt) {
  const absl::Duration timeout = TimeToConfirm();
  ASSIGN_OR_RETURN(const auto channel, ConnectAsMember(state_->membership(), options_.clock, timeout));
  const auto stub = task::v1::ParticipationService::NewStub(channel->grpc());
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  task::v1::ConfirmRequest request;
  request.set_task(task_);
  request.set_attempt(attempt);
  request.set_installed_digest(digest);
  task::v1::ConfirmResponse response;
  return Explain(*channel, stub->Confirm(&context, request, &response));
}

absl::Status Update::Confirm() {
  const std::optional<TargetOwner::Pending> pending = owner_->pending();
  const absl::StatusOr<std::string> digest = owner_->PendingDigest();
  if (!pending.has_value() || Reason(digest.status()) == "NOT_PENDING") return absl::OkStatus();
  if (!digest.ok()) return RollBackFor(digest.status());
  // What was read is what was installed, and need not be what the target's path leads to.
  if (owner_->HasMoved()) {
    return RollBack("target_changed", owner_->HowItMoved(), /*passing=*/true);
  }
  if (owner_->IsLink()) {
    return RollBack("target_changed",
                    absl::StrCat("somebody, perhaps a command, put a link in place of ", owner_->target()),
                    /*passing=*/false);
  }
  if (*digest != pending->digest) {
    return RollBack("digest_mismatch", "a command changed the files that had just been installed", /*passing=*/false);
  }
  const absl::Status status = CallConfirm(*digest, pending->attempt);
  if (status.ok()) return Commit();
  if (Reason(status) == "NOT_CHECKING" && state() == Participant::STATE_CONFIRMED) {
    return RollBack("confirmed", "the server has confirmed another set, and does not wait for this one",
                    /*passing=*/true);
  }
  if (Reason(status) == "DIGEST_DIFFERS") {
    return RollBack("digest_mismatch", std::string(status.message()), /*passing=*/false);
  }
  return status;
}

absl::Status Update::Commit() {
  const std::optional<TargetOwner::Pending> pending = owner_->pending();
  if (!pending.has_value()) return absl::OkStatus();
  const absl::Status status = owner_->Commit(listener_);
  if (Reason(status) == "NOT_PENDING") return absl::OkStatus();
  result_ = Result{.end = status.ok() ? End::kConfirmed : End::kUnrecorded, .error = status};
  if (!status.ok()) return absl::OkStatus();
  owner_->EndTurn(task_);
  // The target has them all now.
  if (auto store = ChunkCache::Open(ChunkFolder()); store.ok()) store->Prune({}).IgnoreError();
  announce_(event::Confirmed{task_, pending->revision});
  return absl::OkStatus();
}

absl::Status Update::RollBack(const std::string& reason, const std::string& detail, bool passing) {
  const TargetOwner::Hold hold(owner_);
  const std::optional<TargetOwner::Pending> pending = owner_->pending();
  const bool again = pending.has_value() && pending->rollback.has_value();
  const absl::Status begun = owner_->BeginRollback(reason, detail, passing);
  // The owner was faster.
  if (Reason(begun) == "NOT_PENDING") return absl::OkStatus();
  result_ = Result{.end = End::kRolledBack, .reason = reason, .detail = detail, .passing = passing};
  if (!again) announce_(event::RollingBack{task_, reason, detail});
  absl::Status reported;
  if (server_is_applying()) {
    reported =
        negotiation_->Report({.state = Participant::STATE_ROLLING_BACK, .reason = reason, .detail = detail}).status();
  }
  result_.error = owner_->FinishRollback(listener_);
  if (Reason(result_.error) == "NOT_PENDING") result_.error = absl::OkStatus();
  result_.failed = !result_.error.ok();
  if (result_.error.ok()) {
    announce_(event::RolledBack{task_, pending.has_value() && pending->nothing_before});
  } else if (Reason(result_.error) != "HOOK_NOT_STARTED") {
    const std::string failure(result_.error.message());
    const std::pair<int32_t, std::string> failed(pending.has_value() ? pending->attempt : 0, failure);
    if (std::exchange(announced_failure_, failed) != failed) {
      announce_(event::RollbackFailed{task_, failure});
    }
  }
  owner_->EndTurn(task_);
  RETURN_IF_ERROR(reported);
  const std::optional<TargetOwner::Rollback> rollback = owner_->view(task_).rollback;
  return negotiation_ == nullptr || !rollback.has_value() ? absl::OkStatus() : ReportRollback(*rollback);
}

absl::Status Update::RollBackFor(const absl::Status& why) {
  return RollBack(ReasonCode(why), std::string(why.message()), IsPassing(why));
}

absl::Status Update::ReportRollback(const TargetOwner::Rollback& rollback) {
  if (result_.end == End::kOpen) {
    result_ = Result{
        .end = End::kRolledBack, .reason = rollback.reason, .detail = rollback.detail, .passing = rollback.passing};
  }
  result_.failed = rollback.failed;
  const bool waits = server_is_applying() || state() == Participant::STATE_ROLLING_BACK;
  if (waits && negotiation_->current().attempt() == rollback.attempt) {
    const auto end = rollback.failed ? Participant::STATE_ROLLBACK_FAILED : Participant::STATE_ROLLED_BACK;
    RETURN_IF_ERROR(
        negotiation_
            ->Report({.state = end, .reason = rollback.reason, .detail = rollback.detail, .passing = rollback.passing})
            .status());
  }
  owner_->ForgetRollback(task_);
  return absl::OkStatus();
}

}  // namespace parley::agent
