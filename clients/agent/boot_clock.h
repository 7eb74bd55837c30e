// How long the machine has been on, and since which boot.
#ifndef PARLEY_CLIENTS_AGENT_BOOT_CLOCK_H_
#define PARLEY_CLIENTS_AGENT_BOOT_CLOCK_H_

#include <string>
#include <utility>

#include "absl/time/time.h"
#include "lib/base/mutex.h"

namespace parley::agent {

// Unlike the wall clock it does not jump when somebody sets the time, and unlike the monotonic one it goes on while the
// machine sleeps. Threads: any.
class BootClock {
 public:
  virtual ~BootClock() = default;
  // CLOCK_BOOTTIME.
  virtual absl::Duration Uptime() const = 0;
  // Differs for every boot of the machine; empty where the kernel does not say.
  virtual std::string BootId() const = 0;

  // The machine's own; lives as long as the process.
  static BootClock* System();
};

// Time since some moment that nobody can set. It goes on while the process is stopped.
absl::Duration SteadyTime();

// Stands still until told; for tests.
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
