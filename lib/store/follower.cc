#include "lib/store/follower.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "lib/base/error.h"
#include "lib/base/log.h"

namespace parley::store {
namespace {

constexpr absl::Duration kRetryAfter = absl::Seconds(1);
constexpr absl::Duration kMaxWait = absl::Seconds(5);

}  // namespace

Follower::Follower(Store* store, KeyRange range, Load load, Apply apply, Clock* clock, TimerQueue* timers)
    : store_(store),
      range_(std::move(range)),
      load_(std::move(load)),
      apply_(std::move(apply)),
      clock_(clock),
      timers_(timers) {}

Follower::~Follower() { Stop(); }

absl::Status Follower::Start() {
  MutexLock lock(&connecting_);
  return Connect();
}

void Follower::Stop() {
  TimerQueue::TimerId retry = 0;
  {
    MutexLock lock(&mutex_);
    stopped_ = true;
    retry = std::exchange(retry_, 0);
    advanced_.NotifyAll();
  }
  if (retry != 0) timers_->Cancel(retry);
  MutexLock lock(&connecting_);
  watch_.reset();
}

absl::Status Follower::ReadAnew() {
  MutexLock connecting(&connecting_);
  {
    MutexLock lock(&mutex_);
    if (stopped_) return absl::OkStatus();
  }
  watch_.reset();
  absl::Status status = Connect();
  if (!status.ok()) ReconnectLater("the store can not be watched", status);
  return status;
}

absl::Status Follower::Connect() {
  ASSIGN_OR_RETURN(const int64_t revision, load_());
  {
    MutexLock lock(&mutex_);
    applied_ = std::max(applied_, revision);
    advanced_.NotifyAll();
  }
  ASSIGN_OR_RETURN(watch_, store_->WatchRange(range_, revision,
                                              [this](auto changes, int64_t at) { OnChanges(std::move(changes), at); }));
  return absl::OkStatus();
}

void Follower::OnChanges(absl::StatusOr<std::vector<Change>> changes, int64_t revision) {
  if (!changes.ok()) {
    return ReconnectLater("a watch of the store broke; reading it anew", changes.status());
  }
  apply_(*changes);
  MutexLock lock(&mutex_);
  applied_ = std::max(applied_, revision);
  advanced_.NotifyAll();
}

void Follower::ReconnectLater(absl::string_view what, const absl::Status& why) {
  LogError(what, {{"error", std::string(why.message())}});
  MutexLock lock(&mutex_);
  if (!stopped_) retry_ = timers_->Schedule(clock_->Now() + kRetryAfter, [this] { (void)ReadAnew(); });
}

bool Follower::WaitFor(int64_t revision) {
  const absl::Time limit = absl::Now() + kMaxWait;
  MutexLock lock(&mutex_);
  while (applied_ < revision && !stopped_) {
    const absl::Duration left = limit - absl::Now();
    if (left <= absl::ZeroDuration()) return false;
    advanced_.WaitFor(&mutex_, left);
  }
  return applied_ >= revision;
}

}  // namespace parley::store
