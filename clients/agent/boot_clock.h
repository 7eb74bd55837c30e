// Clocks that nobody can set: how long the machine has been on, since which boot, and a steady time for pauses.
//
// Threads: all functions and methods may be called from any thread.
#ifndef PARLEY_CLIENTS_AGENT_BOOT_CLOCK_H_
#define PARLEY_CLIENTS_AGENT_BOOT_CLOCK_H_

#include <string>
#include <utility>

#include "absl/time/time.h"
#include "lib/base/mutex.h"

namespace parley::agent {

// A clock that does not jump when somebody sets the time, unlike the wall clock, and that goes on while the machine
// sleeps, unlike SteadyTime.
class BootClock {
 public:
  virtual ~BootClock() = default;
  // Returns how long ago the machine was started (CLOCK_BOOTTIME).
  virtual absl::Duration Uptime() const = 0;
  // Returns a text that differs for every boot of the machine; empty if the kernel does not say.
  virtual std::string BootId() const = 0;

  // Returns the machine's own clock, which lives as long as the process.
  static BootClock* System();
};

// Returns the time since some moment (CLOCK_MONOTONIC). It goes on while the process is stopped.
absl::Duration SteadyTime();

// A clock for tests, which stands still until it is told to go on.
class FakeBootClock final : public BootClock {
 public:
  absl::Duration Uptime() const override {
    MutexLock lock(&mutex_);
    return uptime_;
  }
  std::string BootId() const override {
    MutexLock lock(&mutex_);
    return boot_id_;
  }
  void Advance(absl::Duration by) {
    MutexLock lock(&mutex_);
    uptime_ += by;
  }
  void Reboot(std::string boot_id) {
    MutexLock lock(&mutex_);
    boot_id_ = std::move(boot_id);
    uptime_ = absl::ZeroDuration();
  }

 private:
  mutable Mutex mutex_;
  absl::Duration uptime_ ABSL_GUARDED_BY(mutex_) = absl::Hours(1);
  std::string boot_id_ ABSL_GUARDED_BY(mutex_) = "boot-1";
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_BOOT_CLOCK_H_
