#include "lib/transport/quiet_grpc.h"

#include <stdlib.h>

#include <atomic>

#include "grpc/grpc.h"
#include "lib/transport/grpc_engine.h"
#include "lib/transport/grpc_timers.h"

namespace parley::transport {
namespace {

// For a channel that no call waits on.
constexpr char kPollVariable[] = "GRPC_CLIENT_CHANNEL_BACKUP_POLL_INTERVAL_MS";
constexpr char kPollMillis[] = "300000";

std::atomic<bool> quiet = false;

}  // namespace

void UseGrpcQuietly() {
  if (quiet.exchange(true)) return;
  UseSleepingEngine();
  SleepUntilGrpcTimers();
  const bool set = getenv(kPollVariable) == nullptr;
  if (set) setenv(kPollVariable, kPollMillis, 1);
  // Reads the variable, which is not for the programs that this process starts.
  grpc_init();
  if (set) unsetenv(kPollVariable);
}

void KeepGrpcInitialized() {
  [[maybe_unused]] static const bool kept = [] {
    grpc_init();
    return true;
  }();
}

SignOfLife GetSignOfLife() {
  if (quiet) return {.after = absl::Seconds(130), .within = absl::Seconds(20)};
  return {.after = absl::Seconds(4), .within = absl::Seconds(3)};
}

}  // namespace parley::transport
