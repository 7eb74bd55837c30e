#include "lib/transport/relay_in_callers.h"

#include <stdint.h>

#include <atomic>
#include <cstddef>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "grpc/grpc.h"
#include "grpcpp/grpcpp.h"
#include "lib/transport/event_loop.h"
#include "lib/transport/grpc_symbols.h"

// What libgrpc 1.51 exports of src/core/lib/iomgr/ev_posix.h, which Debian does not install.
struct grpc_fd;
struct grpc_closure;
__attribute__((weak)) grpc_fd* grpc_fd_create(int fd, const char* name, bool track_err);
__attribute__((weak)) void grpc_fd_notify_on_read(grpc_fd* fd, grpc_closure* closure);
__attribute__((weak)) const char* grpc_get_poll_strategy_name();

namespace parley::transport {
namespace {

std::atomic<bool> relaying = false;

constexpr char kPluck[] = "grpc_completion_queue_pluck";

}  // namespace
}  // namespace parley::transport

// Stands in for the function in which a thread waits for an operation of a synchronous call. It is weak, so that a
// program which links gRPC statically has gRPC's. An operation that only wrote into a local socket has not waited, and
// perhaps no thread waits after it: what it wrote goes out here.
extern "C" __attribute__((weak)) grpc_event grpc_completion_queue_pluck(grpc_completion_queue* queue, void* tag,
                                                                        gpr_timespec deadline, void* reserved) {
  using Pluck = grpc_event(grpc_completion_queue*, void*, gpr_timespec, void*);
  static Pluck* const next = parley::transport::NextSymbol<Pluck>(parley::transport::kPluck);
  const grpc_event event = next(queue, tag, deadline, reserved);
  if (parley::transport::relaying.load(std::memory_order_relaxed)) parley::transport::EventLoop::Shared()->Turn();
  return event;
}

namespace parley::transport {
namespace {

// The shared loop, as a socket that gRPC polls.
class PolledLoop {
 public:
  PolledLoop() : fd_(grpc_fd_create(EventLoop::Shared()->fd(), "parley-relay", /*track_err=*/false)) { Await(); }

 private:
  // A grpc_closure of gRPC 1.51, with room for what it has in a build with assertions.
  struct Closure {
    void* next = nullptr;
    void (*run)(void* argument, void* status) = nullptr;
    void* argument = nullptr;
    uintptr_t error = 0;
    uintptr_t room[8] = {};
  };

  void Await() { grpc_fd_notify_on_read(fd_, reinterpret_cast<grpc_closure*>(&ready_)); }

  grpc_fd* const fd_;
  // An event that comes during the turn calls again.
  Closure ready_{.run =
                     [](void* loop, void*) {
                       EventLoop::Shared()->Turn();
                       static_cast<PolledLoop*>(loop)->Await();
                     },
                 .argument = this};
};

// Only this engine has one set of sockets for all who poll.
bool PollsAllSockets() { return absl::string_view(grpc_get_poll_strategy_name()) == "epoll1"; }

bool Begin() {
  if (!absl::StartsWith(grpc::Version(), "1.51.") || grpc_fd_create == nullptr || grpc_fd_notify_on_read == nullptr ||
      grpc_get_poll_strategy_name == nullptr || !StandsBefore(kPluck, &grpc_completion_queue_pluck)) {
    return false;
  }
  grpc_init();
  if (!PollsAllSockets() || !EventLoop::TakeTurnsAtShared()) return false;
  // No thread polls yet, so nothing is ready before the loop is awaited.
  static PolledLoop* const loop [[maybe_unused]] = new PolledLoop;
  relaying = true;
  return true;
}

}  // namespace

bool RelayInCallers() {
  static const bool begun = Begin();
  return begun;
}

}  // namespace parley::transport
