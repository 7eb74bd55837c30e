#include "clients/agent/boot_clock.h"

#include <time.h>

#include "absl/strings/ascii.h"
#include "lib/base/file.h"

namespace parley::agent {
namespace {

absl::Duration Read(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return absl::DurationFromTimespec(now);
}

class SystemBootClock final : public BootClock {
 public:
  absl::Duration Uptime() const override { return Read(CLOCK_BOOTTIME); }
  std::string BootId() const override {
    const absl::StatusOr<std::string> id = ReadFile("/proc/sys/kernel/random/boot_id", 100);
    return id.ok() ? std::string(absl::StripAsciiWhitespace(*id)) : std::string();
  }
};

}  // namespace

absl::Duration SteadyTime() { return Read(CLOCK_MONOTONIC); }

BootClock* BootClock::System() {
  static SystemBootClock* const clock = new SystemBootClock();
  return clock;
}

}  // namespace parley::agent
