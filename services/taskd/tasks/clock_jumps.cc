#include "services/taskd/tasks/clock_jumps.h"

#include <algorithm>
#include <utility>

#include "lib/base/log.h"

namespace parley::taskd {
namespace {

// What a time service corrects between two looks without a step is less.
constexpr absl::Duration kJump = absl::Minutes(1);

}  // namespace

ClockJumps::ClockJumps(const Clock* clock, Steady steady) : clock_(clock), steady_(std::move(steady)) {
  last_look_ = clock_->Now();
  if (steady_ != nullptr) base_ = last_look_ - steady_();
}

void ClockJumps::Reevaluate() {
  const absl::Time now = clock_->Now();
  const absl::Duration moved = now - steady_() - base_;
  base_ += moved;
  if (moved > kJump) {
    ahead_ += moved;
    before_jump_ = last_look_;
    LogError(
        "the clock was set forward; tasks that were open go by the time that has passed until it is set back, or "
        "until this service is started again",
        {{"by", absl::FormatDuration(moved)}});
  } else if (moved < -kJump) {
    ahead_ = std::max(absl::ZeroDuration(), ahead_ + moved);
    LogWarning("the clock was set back", {{"by", absl::FormatDuration(-moved)}});
  }
  last_look_ = now;
}

absl::Time ClockJumps::Now(absl::Time since) {
  MutexLock lock(&mutex_);
  if (steady_ == nullptr) return clock_->Now();
  Reevaluate();
  return since <= before_jump_ ? last_look_ - ahead_ : last_look_;
}

absl::Duration ClockJumps::ahead() {
  MutexLock lock(&mutex_);
  if (steady_ != nullptr) Reevaluate();
  return ahead_;
}

}  // namespace parley::taskd
