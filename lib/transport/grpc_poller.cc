#include "lib/transport/grpc_poller.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <set>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grpc/grpc.h"
#include "grpc/support/time.h"
#include "grpcpp/grpcpp.h"
#include "lib/transport/event_loop.h"
#include "lib/transport/grpc_symbols.h"

namespace parley::transport {
namespace {

// Set once, before there is a queue for callbacks.
std::atomic<bool> polling = false;
// Whether this thread is inside a call into gRPC, behind which callbacks may run.
thread_local bool calls_back = false;
// The events of gRPC's sockets, and those that only woke it, that this thread has seen.
thread_local uint64_t events_seen = 0;

constexpr char kRunInBackground[] = "_Z28grpc_iomgr_run_in_backgroundv";
constexpr char kIsBackgroundThread[] = "_Z42grpc_iomgr_is_any_background_poller_threadv";
constexpr char kSetReady[] = "_ZN9grpc_core13LockfreeEvent8SetReadyEv";
constexpr char kConsumeWakeup[] = "_Z29grpc_wakeup_fd_consume_wakeupP14grpc_wakeup_fd";
constexpr char kScheduleOnDone[] = "_ZN4grpc8internal18ServerCallbackCall14ScheduleOnDoneEb";

}  // namespace

// These stand in for functions that libgrpc exports and calls: the symbols of a program come before those of a library.
// They are weak, so that a program which links gRPC statically has gRPC's.
extern "C" {

// Says whether completions call back from whoever polls. If not, gRPC begins threads that poll.
__attribute__((weak)) bool RunInBackground() __asm__("_Z28grpc_iomgr_run_in_backgroundv");
bool RunInBackground() {
  static auto* const next = NextSymbol<bool()>(kRunInBackground);
  return polling.load(std::memory_order_relaxed) || (next != nullptr && next());
}

// Says whether completions may call back on this thread at once, whatever they call. If not, gRPC gives them to another
// thread.
__attribute__((weak)) bool IsBackgroundThread() __asm__("_Z42grpc_iomgr_is_any_background_poller_threadv");
bool IsBackgroundThread() {
  static auto* const next = NextSymbol<bool()>(kIsBackgroundThread);
  return calls_back || (next != nullptr && next());
}

// Is told each event of a socket.
__attribute__((weak)) bool SetReady(void* event) __asm__("_ZN9grpc_core13LockfreeEvent8SetReadyEv");
bool SetReady(void* event) {
  static auto* const next = NextSymbol<bool(void*)>(kSetReady);
  ++events_seen;
  return next(event);
}

// Is told that a call is over, and whether its handler may hear of that at once. If not, gRPC gives it to another
// thread.
__attribute__((weak)) void ScheduleOnDone(void* call, bool at_once) __asm__(
    "_ZN4grpc8internal18ServerCallbackCall14ScheduleOnDoneEb");
void ScheduleOnDone(void* call, bool at_once) {
  static auto* const next = NextSymbol<void(void*, bool)>(kScheduleOnDone);
  next(call, at_once || calls_back);
}

}  // extern "C"

// Is told each event that was to wake a thread.
__attribute__((weak)) absl::Status ConsumeWakeup(void* wakeup) __asm__(
    "_Z29grpc_wakeup_fd_consume_wakeupP14grpc_wakeup_fd");
absl::Status ConsumeWakeup(void* wakeup) {
  static auto* const next = NextSymbol<absl::Status(void*)>(kConsumeWakeup);
  ++events_seen;
  return next(wakeup);
}

namespace {

// The descriptors by which this process polls others.
std::set<int> PollingDescriptors() {
  std::set<int> found;
  DIR* const directory = opendir("/proc/self/fd");
  if (directory == nullptr) return found;
  while (const dirent* const entry = readdir(directory)) {
    char target[64] = {};
    const ssize_t size = readlink(absl::StrCat("/proc/self/fd/", entry->d_name).c_str(), target, sizeof(target) - 1);
    if (size > 0 && std::string(target) == "anon_inode:[eventpoll]") found.insert(atoi(entry->d_name));
  }
  closedir(directory);
  return found;
}

// After so many polls the relays have their turn.
constexpr int kPollsAtOnce = 512;

class Poller final : public EventLoop::FarEnds {
 public:
  explicit Poller(int fd)
      : fd_(fd),
        callbacks_(grpc_completion_queue_create_for_callback(&ended_, nullptr)),
        queue_(grpc_completion_queue_create_for_next(nullptr)) {
    grpc_channel* const channel = grpc_lame_client_channel_create("nowhere", GRPC_STATUS_UNAVAILABLE, "nowhere");
    call_ = grpc_channel_create_call(channel, nullptr, 0, callbacks_, grpc_slice_from_static_string("/"), nullptr,
                                     gpr_inf_future(GPR_CLOCK_REALTIME), nullptr);
    grpc_channel_destroy(channel);
  }

  int fd() const override { return fd_; }

  // What completes while gRPC polls calls back only if a call of this thread into gRPC is under way, behind which the
  // callbacks then run. An empty batch is such a call: its own callback polls.
  //
  // gRPC takes up to 100 events from the kernel, and deals with one of them at each poll. A poll without one has found
  // that the kernel has none.
  bool Work() override {
    for (int polls = 0; polls < kPollsAtOnce; ++polls) {
      const uint64_t seen = events_seen;
      const CallbacksAtOnce here;
      grpc_call_start_batch(call_, nullptr, 0, &poll_, nullptr);
      if (events_seen == seen) return false;
    }
    return true;
  }

 private:
  struct Callback : grpc_completion_queue_functor {
    Callback(void (*run)(grpc_completion_queue_functor*, int), Poller* poller) : poller(poller) {
      functor_run = run;
      inlineable = true;
    }
    Poller* const poller;
  };

  const int fd_;
  Callback ended_{[](grpc_completion_queue_functor*, int) {}, this};
  Callback poll_{[](grpc_completion_queue_functor* callback, int) {
                   // It has nothing in it, but whoever waits at it polls for all queues.
                   grpc_completion_queue_next(static_cast<Callback*>(callback)->poller->queue_,
                                              gpr_inf_past(GPR_CLOCK_MONOTONIC), nullptr);
                 },
                 this};
  grpc_completion_queue* const callbacks_;
  grpc_completion_queue* const queue_;
  grpc_call* call_ = nullptr;
};

bool Begin() {
  if (!absl::StartsWith(grpc::Version(), "1.51.") || !StandsBefore(kRunInBackground, &RunInBackground) ||
      !StandsBefore(kIsBackgroundThread, &IsBackgroundThread) || !StandsBefore(kSetReady, &SetReady) ||
      !StandsBefore(kConsumeWakeup, &ConsumeWakeup) || !StandsBefore(kScheduleOnDone, &ScheduleOnDone) ||
      !EventLoop::Shared()->has_thread()) {
    return false;
  }
  const std::set<int> before = PollingDescriptors();
  grpc_init();
  int fd = -1;
  for (const int each : PollingDescriptors()) {
    if (before.count(each) > 0) continue;
    // Two are not understood.
    if (std::exchange(fd, each) >= 0) return false;
  }
  if (fd < 0) return false;
  polling = true;
  EventLoop::ServeFarEnds(new Poller(fd));
  return true;
}

}  // namespace

CallbacksAtOnce::CallbacksAtOnce()
    : before_(std::exchange(calls_back, calls_back || polling.load(std::memory_order_relaxed))) {}

CallbacksAtOnce::~CallbacksAtOnce() { calls_back = before_; }

bool PollGrpcInLoop() {
  static const bool begun = Begin();
  return begun;
}

}  // namespace parley::transport
