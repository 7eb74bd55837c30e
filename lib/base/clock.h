// The source of the time. It is injected everywhere, so that no test waits for the time to pass.
//
// Threads: all methods may be called from any thread. FakeClock calls its subscribers on the thread that calls Advance.
#ifndef PARLEY_LIB_BASE_CLOCK_H_
#define PARLEY_LIB_BASE_CLOCK_H_

#include <cstdint>
#include <functional>
#include <map>

#include "absl/time/time.h"
#include "lib/base/mutex.h"

namespace parley {

// Returns the time since the machine began, with that in which it slept (CLOCK_BOOTTIME). Nobody sets this clock.
absl::Duration TimeSinceBoot();

class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() const = 0;

  // Calls `jumped` whenever the time has moved otherwise than by passing, until the returned id is given to
  // Unsubscribe. Only a FakeClock moves so. TimerQueue needs this.
  virtual uint64_t Subscribe(std::function<void()> jumped) { return 0; }
  virtual void Unsubscribe(uint64_t id) {}

  // Returns the system's clock, which lives as long as the process.
  static Clock* System();
};

// A clock that stands still until Advance is called.
class FakeClock final : public Clock {
 public:
  explicit FakeClock(absl::Time now = absl::FromUnixSeconds(1'700'000'000)) : now_(now) {}
  absl::Time Now() const override;
  void Advance(absl::Duration by);
  uint64_t Subscribe(std::function<void()> jumped) override;
  void Unsubscribe(uint64_t id) override;

 private:
  // There are two locks, because a subscriber takes its own one, under which it may ask for the time.
  mutable Mutex now_mutex_;
  absl::Time now_ ABSL_GUARDED_BY(now_mutex_);
  Mutex subscribers_mutex_;
  uint64_t last_id_ ABSL_GUARDED_BY(subscribers_mutex_) = 0;
  std::map<uint64_t, std::function<void()>> subscribers_ ABSL_GUARDED_BY(subscribers_mutex_);
};

}  // namespace parley

#endif  // PARLEY_LIB_BASE_CLOCK_H_
