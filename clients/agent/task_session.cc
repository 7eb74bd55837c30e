#include "clients/agent/task_session.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "clients/agent/free_space.h"
#include "clients/agent/method_choice.h"
#include "clients/agent/setup.h"
#include "clients/agent/targets.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/crypto/kdf.h"
#include "lib/task/states.h"

namespace parley::agent {
namespace {

using task::v1::Declaration;
using task::v1::Participant;

// Answers one after another that change nothing: this client and the server do not understand one another.
constexpr int kMostUnchanged = 20;
constexpr size_t kInstanceBytes = 16;
// At least every so often, while something hinders and the wall clock may be set.
constexpr absl::Duration kMaxRecheckPause = absl::Minutes(1);

std::string ParentOf(const std::string& path) {
  const std::string parent = path.substr(0, path.rfind('/'));
  return parent.empty() ? "/" : parent;
}

// The disk on which the state is, descriptors or memory may be short, which passes.
bool IsLocalHindrance(const absl::Status& status) {
  const std::string reason = Reason(status);
  return reason == "DISK_FULL" || reason == "DISK_READ_ONLY" || reason == "FILE_IO" || reason == "TOO_MANY_FILES";
}

// How far a client has come in a revision; 0 for states that say nothing of it.
int RankOf(Participant::State state) {
  constexpr Participant::State kWay[] = {
      Participant::STATE_JOINED,   Participant::STATE_QUEUED,       Participant::STATE_OFFERED,
      Participant::STATE_ACCEPTED, Participant::STATE_TRANSFERRING, Participant::STATE_STAGED,
      Participant::STATE_APPLYING, Participant::STATE_CHECKING,     Participant::STATE_CONFIRMED};
  const auto* const found = std::find(std::begin(kWay), std::end(kWay), state);
  return found == std::end(kWay) ? 0 : static_cast<int>(found - std::begin(kWay)) + 1;
}

}  // namespace

TaskSession::TaskSession(const Options* options, JoinCredentials credentials, std::string target, Announcer announce,
                         Cancellation* cancellation)
    : options_(*options),
      credentials_(std::move(credentials)),
      target_(std::move(target)),
      announce_(announce),
      cancellation_(cancellation),
      task_(absl::StrCat("tasks/", credentials_.task)),
      instance_(crypto::RandomBytes(kInstanceBytes)),
      retry_(*options, credentials_.follow),
      hindrances_(*options),
      offer_check_(options, task_),
      retry_wanted_(!credentials_.follow) {}

TaskSession::~TaskSession() {
  if (owner_ != nullptr) owner_->Leave(this);
}

absl::StatusOr<Outcome> TaskSession::Run() {
  for (absl::Status prepared = Prepare(); !prepared.ok(); prepared = Prepare()) {
    if (!IsLocalHindrance(prepared)) return Finish(prepared);
    RecordHindrance(prepared);
    if (!credentials_.follow && hindrances_.lasts_too_long()) return Finish(prepared);
    if (const absl::Status slept = cancellation_->Sleep(hindrances_.left()); !slept.ok()) return Finish(slept);
  }
  hindrances_.End();
  if (member_->met()) retry_.Met();
  while (true) {
    retry_.Begin();
    const absl::Status status = cancellation_->cancelled() ? Stopped() : RunStream();
    if (result_.has_value()) return *std::move(result_);
    const absl::Time key_end = absl::FromUnixSeconds(state_->membership().expire_time().seconds());
    const absl::Status next = WaitToRetry(ExplainKey(status, key_end, options_.clock));
    if (!next.ok()) return Finish(next);
  }
}

absl::Status TaskSession::Prepare() {
  if (state_ == nullptr) {
    ASSIGN_OR_RETURN(state_, TaskState::Open(options_.state_dir, credentials_.task));
    member_.emplace(&options_, &credentials_, state_.get(), &announce_, cancellation_);
  }
  // A target that cannot be opened is declared, and so is no reason not to join.
  OpenTarget().IgnoreError();
  RETURN_IF_ERROR(member_->Ensure());
  return owner_ == nullptr ? absl::OkStatus() : member_->SetTarget(owner_->target(), target_);
}

absl::Status TaskSession::OpenTarget() {
  if (owner_ != nullptr && owner_->IsCurrent()) {
    // The way to it may lead elsewhere by now. What is undecided is settled where it is.
    return owner_->pending().has_value() ? absl::OkStatus() : member_->SetTarget(WithoutLinks(target_), target_);
  }
  if (owner_ != nullptr) {
    owner_->Leave(this);
    update_.reset();
    owner_.reset();
  }
  ASSIGN_OR_RETURN(auto owner, TargetOwner::Get(target_, OwnerOptions(options_)));
  RETURN_IF_ERROR(member_->SetTarget(owner->target(), target_));
  RETURN_IF_ERROR(owner->Adopt(task_, state_->folder()));
  owner_ = std::move(owner);
  former_rollback_ = owner_->view(task_).rollback.has_value();
  owner_->Join(this);
  const TargetOwner::Listener* const self = this;
  update_.emplace(&options_, &announce_, state_.get(), owner_.get(), self, &negotiation_, cancellation_);
  return credentials_.device ? absl::OkStatus() : RollBackOthers(owner_.get());
}

// A device may take up an update of another task yet; a process for one task will not, so it does not wait for that.
absl::Status TaskSession::RollBackOthers(TargetOwner* owner) {
  const std::optional<TargetOwner::Pending> pending = owner->pending();
  if (!pending.has_value() || pending->task == task_) return absl::OkStatus();
  const std::string reason = "interrupted";
  const std::string detail = absl::StrCat("the agent stopped during the update, and then began with ", task_);
  const absl::Status begun = owner->BeginRollback(reason, detail, /*passing=*/true);
  if (Reason(begun) == "NOT_PENDING") return absl::OkStatus();
  announce_(event::RollingBack{pending->task, reason, detail});
  const absl::Status status = owner->FinishRollback(/*by=*/nullptr);
  announce_(RollbackEnd(*pending, status));
  return owner->pending().has_value() ? status : absl::OkStatus();
}

absl::Status TaskSession::FillInstalled(Declaration* declaration) const {
  declaration->set_installed_revision(owner_->view(task_).revision);
  const std::optional<TargetOwner::Pending> pending = owner_->pending();
  if (pending.has_value() && pending->task == task_) {
    // A set whose commands have not passed is not one that is installed.
    if (!pending->applied) return absl::OkStatus();
    ASSIGN_OR_RETURN(*declaration->mutable_installed_digest(), owner_->PendingDigest());
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(TargetOwner::OnDisk disk, owner_->Read(task_));
  declaration->set_installed_digest(disk.digest);
  declaration->set_taken_over(Detail(disk.taken_over));
  return absl::OkStatus();
}

Declaration TaskSession::MakeDeclaration() {
  disk_changed_ = false;
  committed_ = false;
  declared_undecided_ = pending();
  Declaration declaration;
  declaration.mutable_facts()->insert(options_.facts.begin(), options_.facts.end());
  declaration.add_encodings("zstd");
  for (const Window& window : options_.policy.windows) {
    task::v1::Window* declared = declaration.add_windows();
    *declared->mutable_start_time() = ToProto(window.start);
    *declared->mutable_end_time() = ToProto(window.end);
  }
  declaration.set_setup_digest(SetupDigest(options_, target_));
  declaration.set_instance(instance_);
  absl::Status readable = OpenTarget();
  declaration.set_retry(retry_wanted_ && !former_rollback_);
  if (readable.ok()) readable = FillInstalled(&declaration);
  const std::string place = owner_ == nullptr ? ParentOf(target_) : owner_->place_path();
  declaration.set_free_bytes(FreeBytes({state_->folder(), place}));
  if (!readable.ok()) RecordHindrance(readable);
  if (hindrances_.active()) *declaration.mutable_hindrance() = hindrances_.ToProto();
  return declaration;
}

absl::Status TaskSession::Declare() {
  Declaration declaration = MakeDeclaration();
  RETURN_IF_ERROR(negotiation_->Declare(declaration));
  if (declaration.retry()) {
    retry_wanted_ = false;
    retry_ignored_ = task::HasFailed(state()) || state() == Participant::STATE_TIMED_OUT;
  }
  declared_ = std::move(declaration);
  return absl::OkStatus();
}

absl::Status TaskSession::RunStream() {
  ASSIGN_OR_RETURN(auto channel, ConnectAsMember(state_->membership(), options_.clock, retry_.left()));
  negotiation_ = std::make_unique<Negotiation>(std::move(channel), task_, cancellation_, options_.clock);
  {
    MutexLock lock(&wake_mutex_);
    to_wake_ = negotiation_.get();
  }
  const absl::Status status = RunSteps();
  if (!negotiation_->channel().dialer().protocol().empty()) retry_.Met();
  {
    MutexLock lock(&wake_mutex_);
    to_wake_ = nullptr;
  }
  negotiation_.reset();
  return status;
}

absl::Status TaskSession::RunSteps() {
  RETURN_IF_ERROR(Declare());
  declared_since_timeout_ = true;
  if (result_.has_value()) return absl::OkStatus();
  retry_.Reached();
  announce_(event::Connected{state_->membership().address(), negotiation_->channel().dialer().protocol()});
  int unchanged = 0;
  while (true) {
    RecordProgress();
    unchanged = current().unchanged() ? unchanged + 1 : 0;
    if (unchanged > kMostUnchanged) {
      return Error(absl::StatusCode::kFailedPrecondition, "NO_TRANSITION", "the server does not take what is reported");
    }
    const int64_t updates = negotiation_->updates();
    const bool undecided = pending();
    RETURN_IF_ERROR(Step());
    if (result_.has_value()) return absl::OkStatus();
    if (!credentials_.follow && hindrances_.lasts_too_long() && (unrecorded_ || !pending())) {
      result_ = hindrances_.why();
      return absl::OkStatus();
    }
    if (negotiation_->updates() != updates || (undecided && !pending())) continue;
    ASSIGN_OR_RETURN(const bool heard, negotiation_->Wait(TimeToRecheck()));
    if (!heard) RETURN_IF_ERROR(Reevaluate());
    if (result_.has_value()) return absl::OkStatus();
  }
}

absl::Duration TaskSession::TimeToRecheck() const {
  if (disk_changed_) return absl::ZeroDuration();
  return hindrances_.active() ? std::min(hindrances_.left(), kMaxRecheckPause) : absl::InfiniteDuration();
}

absl::Status TaskSession::Reevaluate() {
  const bool changed = disk_changed_.exchange(false);
  const bool committed = committed_.exchange(false);
  if (changed && owner_ != nullptr && !pending()) {
    Declaration now;
    const absl::Status readable = FillInstalled(&now);
    if (!readable.ok() || now.installed_digest() != declared_.installed_digest() ||
        now.taken_over() != declared_.taken_over()) {
      return Declare();
    }
  }
  // The step that resumes it checks that.
  if (!hindrances_.active() || (stuck_at_.has_value() && pending())) return absl::OkStatus();
  // What another task took back has made way for this one only if the turn was all that was waited for.
  const bool way = committed || (changed && Reason(hindrances_.why()) == "TARGET_TURN");
  return way || !hindrances_.waits() ? RecheckHindrance() : absl::OkStatus();
}

absl::Status TaskSession::RecheckHindrance() {
  const OfferCheck::Verdict verdict = Examine();
  if (!verdict.status.ok() && verdict.blame != Blame::kSet) return DeclareHindrance(verdict.status);
  // Over; or it is the set's own fault now, which is said of the offer when that comes again.
  hindrances_.End();
  hindered_attempt_ = 0;
  return Declare();
}

void TaskSession::RecordHindrance(const absl::Status& why) {
  if (!hindrances_.Begin(why)) return;
  // It ends the session, whose error says it.
  if (!credentials_.follow && BlameOf(why) == Blame::kPerson) return;
  const absl::Time retry_time = options_.clock->Now() + hindrances_.left();
  announce_(event::Hindered{task_, ReasonCode(why), std::string(why.message()), retry_time});
}

absl::Status TaskSession::DeclareHindrance(const absl::Status& why) {
  hindered_attempt_ = current().attempt();
  RecordHindrance(why);
  const bool known = declared_.has_hindrance() && declared_.hindrance().code() == ReasonCode(why);
  return known ? absl::OkStatus() : Declare();
}

// Only what brings the client further than it was before counts: a state that is entered again and again does not.
void TaskSession::RecordProgress() {
  if (negotiation_->offer().has_value()) offer_ = negotiation_->offer();
  if (state() != Participant::STATE_TIMED_OUT) declared_since_timeout_ = false;
  const int64_t revision = offer_check_.manifest().has_value() ? offer_check_.manifest()->revision() : 0;
  const std::pair<int64_t, int> place(revision, RankOf(state()));
  const bool further = place > furthest_;
  if (further) furthest_ = place;
  if (further || (update_.has_value() && update_->ReceivedSinceLastCall())) retry_.Progress();
}

bool TaskSession::MayJoinAnew(Fault fault) const {
  if (!member_->can_join_anew()) return false;
  if (fault == Fault::kForgotten) return true;
  // A client that was revoked while it was here does not come back by itself; a device is judged by the server.
  return fault == Fault::kKey && retry_.refused_for_good() && (credentials_.device || !retry_.reached());
}

absl::Status TaskSession::WaitToRetry(const absl::Status& status) {
  if (cancellation_->cancelled()) return Stopped();
  const Fault fault = FaultOf(status);
  absl::Duration wait;
  absl::Status next = retry_.Next(status, &wait, /*patient=*/pending());
  const bool anew = MayJoinAnew(fault);
  if (!anew && (!next.ok() || fault == Fault::kForgotten)) return status;
  if (Reason(status) != "STREAM_ENDED") {
    announce_(event::Disconnected{status, options_.clock->Now() + wait});
  }
  RETURN_IF_ERROR(cancellation_->Sleep(wait));
  if (!anew) return absl::OkStatus();
  const absl::Status joined = member_->JoinAnew();
  if (joined.ok()) retry_.KeyChanged();
  if (joined.ok() && owner_ != nullptr) return member_->SetTarget(owner_->target(), target_);
  const bool refused = FaultOf(joined) == Fault::kKey && !credentials_.follow;
  return FaultOf(joined) == Fault::kFinal || refused ? joined : absl::OkStatus();
}

absl::StatusOr<Outcome> TaskSession::Finish(const absl::Status& why) {
  LeaveNothingPending(why);
  if (result_.has_value()) return *std::move(result_);
  if (!cancellation_->cancelled() && owner_ != nullptr && update_.has_value()) {
    // The owner rolled it back while the server was away.
    if (const auto rollback = owner_->view(task_).rollback; rollback.has_value() && FaultOf(why) != Fault::kFinal) {
      Outcome outcome =
          MakeOutcome(rollback->failed ? Participant::STATE_ROLLBACK_FAILED : Participant::STATE_ROLLED_BACK);
      outcome.reason = rollback->reason;
      outcome.detail = rollback->detail;
      return outcome;
    }
  }
  return why;
}

// Nothing undecided is left behind by a process that ends in peace.
void TaskSession::LeaveNothingPending(const absl::Status& why) {
  if (!pending() || unrecorded_) return;
  if (cancellation_->cancelled()) {
    // The commands finish, and one try to confirm; it is refused when the server does not know of the swap yet.
    update_->ResumePending("").IgnoreError();
    if (update_->result().end == Update::End::kConfirmed) result_ = MakeOutcome(Participant::STATE_CONFIRMED);
    if (!pending()) return;
  }
  update_->RollBack("interrupted", std::string(why.message()), /*passing=*/true).IgnoreError();
}

void TaskSession::OnEvent(const Event& event) {
  // A device has a session for the other task too.
  const auto* const undecided = std::get_if<event::Undecided>(&event);
  if (undecided == nullptr || undecided->task == task_ || !credentials_.device) announce_(event);
}

void TaskSession::OnChanged(bool committed) {
  if (committed) committed_ = true;
  disk_changed_ = true;
  MutexLock lock(&wake_mutex_);
  if (to_wake_ != nullptr) to_wake_->Wake();
}

}  // namespace parley::agent
