#include "lib/base/clock.h"

#include <time.h>

#include <utility>

#include "absl/time/clock.h"

namespace parley {
namespace {

class SystemClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::Now(); }
};

}  // namespace

absl::Duration TimeSinceBoot() {
  timespec time{};
  clock_gettime(CLOCK_BOOTTIME, &time);
  return absl::DurationFromTimespec(time);
}

Clock* Clock::System() {
  static SystemClock* const clock = new SystemClock;
  return clock;
}

absl::Time FakeClock::Now() const {
  MutexLock lock(&now_mutex_);
  return now_;
}

void FakeClock::Advance(absl::Duration by) {
  {
    MutexLock lock(&now_mutex_);
    now_ += by;
  }
  MutexLock lock(&subscribers_mutex_);
  for (const auto& [id, jumped] : subscribers_) jumped();
}

uint64_t FakeClock::Subscribe(std::function<void()> jumped) {
  MutexLock lock(&subscribers_mutex_);
  subscribers_[++last_id_] = std::move(jumped);
  return last_id_;
}

void FakeClock::Unsubscribe(uint64_t id) {
  MutexLock lock(&subscribers_mutex_);
  subscribers_.erase(id);
}

}  // namespace parley
