#include "clients/agent/target_owner.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "clients/agent/method_choice.h"
#include "lib/base/error.h"
#include "lib/base/log.h"

namespace parley::agent {
namespace {

// How often it is noted how long an update has been undecided, for a next process after another start of the machine.
constexpr absl::Duration kRecordEvery = absl::Minutes(1);
// While something is undecided, which does not last.
constexpr absl::Duration kPollEvery = absl::Seconds(1);
// A thread that wakes so much later than it asked for was stopped, with its process or with its machine.
constexpr absl::Duration kStopped = absl::Seconds(5);
// What a session has to confirm in, when the time was over before anybody could look.
constexpr absl::Duration kGraceAtStart = absl::Seconds(20);
constexpr absl::Duration kGraceAfterStop = absl::Minutes(1);
// However often the process is stopped, it comes to an end.
constexpr int kMostGraces = 3;
// Between two tries of a rollback that failed.
constexpr absl::Duration kTryAgainAfter = absl::Minutes(1);

// A place for the one owner of a target. Places stay, since a process has few targets.
struct Slot {
  Mutex mutex;
  std::weak_ptr<TargetOwner> owner ABSL_GUARDED_BY(mutex);
};

std::shared_ptr<Slot> SlotOf(const std::string& target) {
  static Mutex* const mutex = new Mutex;
  static auto* const slots = new std::map<std::string, std::shared_ptr<Slot>>;
  const std::string name = WithoutLinks(target);
  MutexLock lock(mutex);
  std::shared_ptr<Slot>& slot = (*slots)[name];
  if (slot == nullptr) slot = std::make_shared<Slot>();
  return slot;
}

absl::Status NotPending() {
  return Error(absl::StatusCode::kFailedPrecondition, "NOT_PENDING", "no update is undecided here any more");
}

std::string WhyOverdue(bool passing, absl::Duration timeout) {
  const std::string within = absl::StrCat("within ", absl::FormatDuration(timeout));
  if (passing) return absl::StrCat("the agent was stopped, and so the update could not be confirmed ", within);
  return absl::StrCat("the update could not be confirmed ", within);
}

}  // namespace

Event RollbackEnd(const Installer::Pending& pending, const absl::Status& status) {
  if (status.ok()) return event::RolledBack{pending.task, pending.nothing_before};
  return event::RollbackFailed{pending.task, std::string(status.message())};
}

absl::StatusOr<std::shared_ptr<TargetOwner>> TargetOwner::Get(const std::string& target, const Options& options) {
  const std::shared_ptr<Slot> slot = SlotOf(target);
  MutexLock lock(&slot->mutex);
  if (auto known = slot->owner.lock(); known != nullptr && known->IsCurrent()) return known;
  ASSIGN_OR_RETURN(std::unique_ptr<TargetFolder> folder, TargetFolder::Open(target, options.kind));
  std::shared_ptr<TargetOwner> owner(new TargetOwner(options, std::move(folder)));
  RETURN_IF_ERROR(owner->Open());
  slot->owner = owner;
  return owner;
}

absl::Status TargetOwner::Open() {
  {
    MutexLock disk(&disk_mutex_);
    ASSIGN_OR_RETURN(Installer installer, Installer::Open(folder_.get(), options_.installer));
    installer_.emplace(std::move(installer));
    Publish();
  }
  {
    MutexLock lock(&mutex_);
    if (pending_.has_value() && pending_->undecided >= pending_->confirm_timeout) {
      passing_ = true;
      grace_end_ = Now() + std::min(pending_->confirm_timeout, kGraceAtStart);
    }
  }
  thread_ = std::thread([this] { Run(); });
  return absl::OkStatus();
}

TargetOwner::~TargetOwner() {
  {
    MutexLock lock(&mutex_);
    ending_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

bool TargetOwner::IsCurrent() const {
  {
    MutexLock lock(&mutex_);
    if (pending_.has_value() || rolling_back_) return true;
  }
  return folder_->IsCurrent();
}

std::string TargetOwner::HowItMoved() const {
  return absl::StrCat(target(), ", the folder above it or ", place_path(),
                      " was removed or replaced, or something was mounted or unmounted there");
}

void TargetOwner::Join(Listener* listener) {
  {
    MutexLock lock(&listeners_mutex_);
    listeners_.insert(listener);
  }
  if (const auto undecided = pending(); undecided.has_value()) {
    listener->OnEvent(event::Undecided{undecided->task, Due()});
  }
}

void TargetOwner::Leave(Listener* listener) {
  MutexLock lock(&listeners_mutex_);
  listeners_.erase(listener);
}

// The listeners of one process tell the same person, so one of them is enough for what the owner does.
void TargetOwner::Announce(const Event& event) {
  MutexLock lock(&listeners_mutex_);
  if (!listeners_.empty()) (*listeners_.begin())->OnEvent(event);
}

void TargetOwner::NotifyChanged(bool committed, const Listener* by) {
  MutexLock lock(&listeners_mutex_);
  for (Listener* const listener : listeners_) {
    if (listener != by) listener->OnChanged(committed);
  }
}

void TargetOwner::Publish() {
  MutexLock lock(&mutex_);
  pending_ = installer_->pending();
  read_ = Now();
  failure_ = absl::OkStatus();
  if (!pending_.has_value()) {
    passing_ = false;
    graces_ = 0;
    grace_end_ = -absl::InfiniteDuration();
  }
  changed_.NotifyAll();
}

absl::Status TargetOwner::Adopt(const std::string& task, const std::string& state_folder) {
  MutexLock disk(&disk_mutex_);
  return installer_->Adopt(task, state_folder);
}

std::optional<TargetOwner::Pending> TargetOwner::pending() const {
  MutexLock lock(&mutex_);
  std::optional<Pending> pending = pending_;
  if (pending.has_value()) pending->undecided += Now() - read_;
  return pending;
}

absl::Time TargetOwner::Due() const {
  MutexLock lock(&mutex_);
  return options_.installer.clock->Now() + std::max(absl::ZeroDuration(), LeftLocked());
}

TargetOwner::TaskView TargetOwner::view(const std::string& task) const {
  MutexLock disk(&disk_mutex_);
  return installer_->view(task);
}

absl::StatusOr<TargetOwner::OnDisk> TargetOwner::Read(const std::string& task) const {
  MutexLock disk(&disk_mutex_);
  return installer_->Read(task);
}

absl::StatusOr<std::string> TargetOwner::PendingDigest() const {
  MutexLock disk(&disk_mutex_);
  if (!installer_->pending().has_value()) return NotPending();
  return installer_->PendingDigest();
}

bool TargetOwner::HoldsNothing() const {
  MutexLock disk(&disk_mutex_);
  return installer_->HoldsNothing();
}

absl::Status TargetOwner::Check(const std::string& task, const task::v1::Manifest& manifest) const {
  {
    MutexLock lock(&mutex_);
    RETURN_IF_ERROR(CheckTurnLocked(task));
  }
  MutexLock disk(&disk_mutex_);
  RETURN_IF_ERROR(installer_->CheckRevision(task, manifest));
  return installer_->Check(task, manifest);
}

std::pair<Method, std::string> TargetOwner::choice() const {
  MutexLock disk(&disk_mutex_);
  return {installer_->method(), installer_->method_reason()};
}

absl::Status TargetOwner::CheckTurnLocked(const std::string& task) const {
  const std::string other = pending_.has_value() ? pending_->task : turn_;
  if (other.empty() || other == task) return absl::OkStatus();
  return Error(absl::StatusCode::kAborted, "TARGET_TURN",
               absl::StrCat("an update of ", target(), " by ", other, " is not decided yet"));
}

absl::Status TargetOwner::BeginTurn(const std::string& task) {
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(CheckTurnLocked(task));
  turn_ = task;
  return absl::OkStatus();
}

void TargetOwner::EndTurn(const std::string& task) {
  MutexLock lock(&mutex_);
  if (turn_ == task && !pending_.has_value()) turn_.clear();
}

absl::Status TargetOwner::Stage(const UpdatePlan& plan, const task::v1::Manifest& manifest,
                                const ReadChunk& read_chunk) {
  if (!IsCurrent()) {
    return Error(absl::StatusCode::kAborted, "TARGET_CHANGED",
                 absl::StrCat(HowItMoved(), "; the target is opened anew"));
  }
  MutexLock disk(&disk_mutex_);
  return installer_->Stage(plan, manifest, read_chunk);
}

absl::Status TargetOwner::Swap() {
  MutexLock disk(&disk_mutex_);
  const absl::Status status = installer_->Swap();
  Publish();
  return status;
}

HookResult TargetOwner::RunCheck() {
  MutexLock disk(&disk_mutex_);
  HookResult result;
  result.status = NotPending();
  return installer_->pending().has_value() ? installer_->RunCheck() : result;
}

absl::StatusOr<HookResult> TargetOwner::RunApply() {
  MutexLock disk(&disk_mutex_);
  if (!installer_->pending().has_value()) return NotPending();
  absl::StatusOr<HookResult> result = installer_->RunApply();
  Publish();
  return result;
}

absl::Status TargetOwner::Commit(const Listener* by) {
  {
    MutexLock disk(&disk_mutex_);
    if (!installer_->pending().has_value()) return NotPending();
    RETURN_IF_ERROR(installer_->Commit());
    Publish();
  }
  NotifyChanged(/*committed=*/true, by);
  return absl::OkStatus();
}

absl::Status TargetOwner::BeginRollback(const std::string& reason, const std::string& detail, bool passing) {
  MutexLock disk(&disk_mutex_);
  if (!installer_->pending().has_value()) return NotPending();
  return installer_->BeginRollback(reason, detail, passing);
}

absl::Status TargetOwner::FinishRollback(const Listener* by) {
  absl::Status status;
  bool ended = false;
  {
    MutexLock disk(&disk_mutex_);
    if (!installer_->pending().has_value()) return NotPending();
    status = installer_->FinishRollback();
    ended = !installer_->pending().has_value();
    Publish();
  }
  if (ended) NotifyChanged(/*committed=*/false, by);
  return status;
}

void TargetOwner::ForgetRollback(const std::string& task) {
  MutexLock disk(&disk_mutex_);
  installer_->ForgetRollback(task).IgnoreError();
}

TargetOwner::Hold::Hold(TargetOwner* owner) : owner_(owner) {
  MutexLock lock(&owner_->mutex_);
  ++owner_->holds_;
}

TargetOwner::Hold::~Hold() {
  MutexLock lock(&owner_->mutex_);
  --owner_->holds_;
  owner_->changed_.NotifyAll();
}

absl::Status TargetOwner::AwaitDecision(bool patient, Cancellation* cancellation) {
  const Cancellation::Listener on_cancel(cancellation, [this] {
    MutexLock lock(&mutex_);
    changed_.NotifyAll();
  });
  mutex_.Lock();
  bool cancelled = false;
  while (AwaitsLocked(patient) && !cancelled) {
    mutex_.Unlock();
    cancelled = cancellation->cancelled();
    mutex_.Lock();
    if (AwaitsLocked(patient) && !cancelled) changed_.WaitFor(&mutex_, kPollEvery);
  }
  const absl::Status failure = patient ? absl::OkStatus() : failure_;
  mutex_.Unlock();
  return cancelled ? Stopped() : failure;
}

bool TargetOwner::AwaitsLocked(bool patient) const {
  return rolling_back_ || (pending_.has_value() && (patient || failure_.ok()));
}

absl::Duration TargetOwner::LeftLocked() const {
  if (!pending_.has_value()) return absl::InfiniteDuration();
  const absl::Duration due = read_ + pending_->confirm_timeout - pending_->undecided;
  return std::max(due, grace_end_) - Now();
}

void TargetOwner::WaitLocked(absl::Duration left) {
  const absl::Duration most = left > absl::ZeroDuration() ? std::min(left, kPollEvery) : kPollEvery;
  const absl::Duration begin = Now();
  changed_.WaitFor(&mutex_, most);
  if (!pending_.has_value() || Now() - begin < most + kStopped) return;
  passing_ = true;
  if (++graces_ <= kMostGraces) grace_end_ = Now() + std::min(pending_->confirm_timeout, kGraceAfterStop);
}

void TargetOwner::Run() {
  absl::Duration recorded = Now();
  mutex_.Lock();
  while (!ending_) {
    if (!pending_.has_value()) {
      changed_.Wait(&mutex_);
      continue;
    }
    const absl::Duration left = LeftLocked();
    if (left > absl::ZeroDuration() || holds_ > 0) {
      WaitLocked(left);
      if (Now() - recorded < kRecordEvery) continue;
      recorded = Now();
      mutex_.Unlock();
      disk_mutex_.Lock();
      if (installer_->pending().has_value()) installer_->RecordWaiting().IgnoreError();
      disk_mutex_.Unlock();
      mutex_.Lock();
      continue;
    }
    const bool passing = passing_;
    rolling_back_ = true;
    mutex_.Unlock();
    RollBackOverdue(passing);
    mutex_.Lock();
    rolling_back_ = false;
    changed_.NotifyAll();
  }
  mutex_.Unlock();
}

void TargetOwner::RollBackOverdue(bool passing) {
  const std::optional<Pending> overdue = pending();
  if (!overdue.has_value()) return;
  const std::string reason = passing ? "interrupted" : "unconfirmed";
  const std::string detail = WhyOverdue(passing, overdue->confirm_timeout);
  absl::Status status = BeginRollback(reason, detail, passing);
  if (Reason(status) == "NOT_PENDING") return;
  const std::string attempt = absl::StrCat(overdue->task, " ", overdue->attempt, ": ");
  if (!absl::StartsWith(announced_failure_, attempt)) {
    Announce(event::RollingBack{overdue->task, reason, detail});
  }
  status = FinishRollback(/*by=*/nullptr);
  const std::string failure = absl::StrCat(attempt, status.message());
  if (std::exchange(announced_failure_, failure) != failure) {
    if (!status.ok()) LogWarning("a rollback failed", {{"error", std::string(status.message())}});
    Announce(RollbackEnd(*overdue, status));
  }
  MutexLock lock(&mutex_);
  failure_ = Reason(status) == "HOOK_NOT_STARTED" ? absl::OkStatus() : status;
  if (!pending_.has_value()) announced_failure_.clear();
  if (pending_.has_value()) grace_end_ = Now() + kTryAgainAfter;
}

}  // namespace parley::agent
