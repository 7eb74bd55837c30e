// Where the time comes from. Injected everywhere, so that no test waits for it.
#ifndef PARLEY_LIB_BASE_CLOCK_H_
#define PARLEY_LIB_BASE_CLOCK_H_

#include <cstdint>
#include <functional>
#include <map>

#include "absl/time/time.h"
#include "lib/base/mutex.h"

namespace parley {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() const = 0;

  // Calls `jumped` whenever the time moved in another way than by passing, which only a FakeClock's does, until
  // the id is given to Unsubscribe. For TimerQueue.
  virtual uint64_t Subscribe(std::function<void()> jumped) { return 0; }
  virtual void Unsubscribe(uint64_t id) {}

  // The system's clock; lives as long as the process.
  static Clock* System();
};

// Stands still until told.
class FakeClock final : public Clock {
 public:
  explicit FakeClock(absl::Time now = absl::FromUnixSeconds(1'700'000'000)) : now_(now) {}
  absl::Time Now() const override;
  void Advance(absl::Duration by);
  uint64_t Subscribe(std::function<void()> jumped) override;
  void Unsubscribe(uint64_t id) override;

 private:
  // Two, because a subscriber takes its own lock, under which it may ask for the time.
  mutable Mutex now_mutex_;
  absl::Time now_ ABSL_GUARDED_BY(now_mutex_);
  Mutex subscribers_mutex_;
  uint64_t last_id_ ABSL_GUARDED_BY(subscribers_mutex_) = 0;
  std::map<uint64_t, std::function<void()>> subscribers_ ABSL_GUARDED_BY(subscribers_mutex_);
};

}  // namespace parley

#endif  // PARLEY_LIB_BASE_CLOCK_H_
