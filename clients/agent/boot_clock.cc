#include "clients/agent/boot_clock.h"

#include <time.h>

#include "absl/strings/ascii.h"
#include "lib/base/file.h"

namespace parley::agent {
namespace {

class SystemBootClock final : public BootClock {
 public:
  absl::Duration Uptime() const override {
    timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return absl::DurationFromTimespec(now);
  }
  std::string BootId() const override {
    const absl::StatusOr<std::string> id = ReadFile("/proc/sys/kernel/random/boot_id", 100);
    return id.ok() ? std::string(absl::StripAsciiWhitespace(*id)) : std::string();
  }
};

}  // namespace

BootClock* BootClock::System() {
  static SystemBootClock* const clock = new SystemBootClock();
  return clock;
}

}  // namespace parley::agent
