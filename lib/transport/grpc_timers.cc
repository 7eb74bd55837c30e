#include "lib/transport/grpc_timers.h"

#include <stdint.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "grpcpp/grpcpp.h"
#include "lib/base/mutex.h"

// What libgrpc 1.51 exports of src/core/lib/iomgr/timer.h, which Debian does not install.
struct grpc_timer;
struct grpc_closure;
namespace grpc_core {
struct Timestamp {
  int64_t milliseconds;
};
}  // namespace grpc_core
enum grpc_timer_check_result { GRPC_TIMERS_NOT_CHECKED, GRPC_TIMERS_CHECKED_AND_EMPTY, GRPC_TIMERS_FIRED };
struct grpc_timer_vtable {
  void (*init)(grpc_timer* timer, grpc_core::Timestamp deadline, grpc_closure* closure);
  void (*cancel)(grpc_timer* timer);
  grpc_timer_check_result (*check)(grpc_core::Timestamp* next);
  void (*list_init)();
  void (*list_shutdown)();
  void (*consume_kick)();
};
__attribute__((weak)) extern grpc_timer_vtable grpc_generic_timer_vtable;
__attribute__((weak)) void grpc_set_timer_impl(grpc_timer_vtable* vtable);
__attribute__((weak)) void grpc_set_default_iomgr_platform();
__attribute__((weak)) void grpc_kick_poller();

namespace parley::transport {
namespace {

// The deadlines of the timers that gRPC has, beside gRPC's own lists. It keeps no order among timers that are due later
// than in a second; so when it is asked what is due next, it answers with the next second of whichever shard. The
// threads that sleep until then are gRPC's.
class Deadlines {
 public:
  // A check begins. Its number.
  uint64_t Begin() {
    MutexLock lock(&mutex_);
    return ++checks_;
  }

  // gRPC has answered check `check` that nothing is due before `next`. Returns until when to sleep: no sooner than
  // `next`, no later than the earliest timer.
  int64_t Next(uint64_t check, int64_t next) {
    MutexLock lock(&mutex_);
    // Whatever was due before has fired, except for what was added since: of that gRPC tells its threads by itself. An
    // empty shard answers with a millisecond more than the earliest deadline that it may have.
    for (auto it = order_.begin(); it != order_.end() && it->first < next - 1;) {
      const auto timer = timers_.find(it->second);
      const bool fired = timer->second.second < check;
      if (fired) timers_.erase(timer);
      it = fired ? order_.erase(it) : std::next(it);
    }
    sleeping_until_ = order_.empty() ? INT64_MAX : std::max(next, order_.begin()->first);
    return sleeping_until_;
  }

  // True when gRPC's threads may sleep for longer than until `deadline`.
  bool Add(grpc_timer* timer, int64_t deadline) {
    MutexLock lock(&mutex_);
    Erase(timer);
    timers_[timer] = {deadline, checks_};
    order_.emplace(deadline, timer);
    return deadline < sleeping_until_;
  }
  void Remove(grpc_timer* timer) {
    MutexLock lock(&mutex_);
    Erase(timer);
  }

 private:
  void Erase(grpc_timer* timer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto found = timers_.find(timer);
    if (found == timers_.end()) return;
    order_.erase({found->second.first, timer});
    timers_.erase(found);
  }

  Mutex mutex_;
  uint64_t checks_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t sleeping_until_ ABSL_GUARDED_BY(mutex_) = INT64_MAX;
  // The deadline, and the check before which it was added.
  std::map<grpc_timer*, std::pair<int64_t, uint64_t>> timers_ ABSL_GUARDED_BY(mutex_);
  std::set<std::pair<int64_t, grpc_timer*>> order_ ABSL_GUARDED_BY(mutex_);
};

Deadlines* AllDeadlines() {
  // gRPC's threads use it until the process ends.
  static Deadlines* const deadlines = new Deadlines();
  return deadlines;
}

// gRPC's first: once its threads are told to look anew, they find the timer.
void Init(grpc_timer* timer, grpc_core::Timestamp deadline, grpc_closure* closure) {
  grpc_generic_timer_vtable.init(timer, deadline, closure);
  if (AllDeadlines()->Add(timer, deadline.milliseconds)) grpc_kick_poller();
}

// Here first: once gRPC's is done, whoever owns the timer may begin it anew.
void Cancel(grpc_timer* timer) {
  AllDeadlines()->Remove(timer);
  grpc_generic_timer_vtable.cancel(timer);
}

grpc_timer_check_result Check(grpc_core::Timestamp* next) {
  const uint64_t check = AllDeadlines()->Begin();
  // Else it may answer with what this thread saw last, which timers that came since are before.
  grpc_generic_timer_vtable.consume_kick();
  const grpc_timer_check_result result = grpc_generic_timer_vtable.check(next);
  if (next != nullptr && result != GRPC_TIMERS_NOT_CHECKED) {
    next->milliseconds = AllDeadlines()->Next(check, next->milliseconds);
  }
  return result;
}

}  // namespace

bool SleepUntilGrpcTimers() {
  if (!absl::StartsWith(grpc::Version(), "1.51.") || &grpc_generic_timer_vtable == nullptr ||
      grpc_set_timer_impl == nullptr || grpc_set_default_iomgr_platform == nullptr || grpc_kick_poller == nullptr) {
    return false;
  }
  static grpc_timer_vtable vtable = {Init,
                                     Cancel,
                                     Check,
                                     grpc_generic_timer_vtable.list_init,
                                     grpc_generic_timer_vtable.list_shutdown,
                                     grpc_generic_timer_vtable.consume_kick};
  // gRPC would do this first when it is initialized, and does it once.
  grpc_set_default_iomgr_platform();
  grpc_set_timer_impl(&vtable);
  return true;
}

}  // namespace parley::transport
