// One thread that waits for sockets with epoll and runs their handlers, edge-triggered.
//
// A handler is told once of every change, and so must read, or write, until the kernel says EAGAIN or gives less than
// it was asked for. Handlers live in their loop's thread alone: other threads reach them by Post. A handler that closes
// gives itself to Retire, so that an event of the same batch does not meet freed memory.
//
// The shared loop may have no thread. Threads that wait for something else then take turns at it, one at a time, and
// "in the loop" is whoever has the turn.
//
// Threads: Post, PostAfter, Run, Turn, Stop and InLoop may be called from any thread, the rest in the loop or before an
// fd's first event.
#ifndef PARLEY_LIB_TRANSPORT_EVENT_LOOP_H_
#define PARLEY_LIB_TRANSPORT_EVENT_LOOP_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "lib/base/fd.h"
#include "lib/base/mutex.h"

namespace parley::transport {

class EventLoop {
 public:
  // A file descriptor's place in a loop. It must stay where it is while it is watched.
  class Watch {
   public:
    virtual ~Watch() = default;
    // `events` has EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP and EPOLLERR.
    virtual void OnEvents(uint32_t events) = 0;
  };

  // Buffers that every handler may use until it returns, so that connections need none of their own.
  struct Scratch {
    static constexpr size_t kReadBytes = 128 * 1024;
    std::unique_ptr<char[]> input{new char[kReadBytes]};
    // The room for what one input decrypts to, together with a record begun earlier.
    static constexpr size_t kPlainBytes = kReadBytes + 2 * 16 * 1024;
    std::unique_ptr<char[]> plain{new char[kPlainBytes]};
    std::string output;
  };

  // The other ends of the local sockets, where this process works on them itself: gRPC's.
  class FarEnds {
   public:
    virtual ~FarEnds() = default;
    // Returns a descriptor that becomes readable when there is something to do.
    virtual int fd() const = 0;
    // Does what there is to do, or a loop's share of it. Returns whether there may be more. It must not block.
    virtual bool Work() = 0;
  };

  // Returns the loop of the process, which never ends: a program's last dialer may go while the process exits.
  static EventLoop* Shared();
  // Lets the shared loop work on the far ends, from now on and to the end of the process. Must be called once, before
  // there are local sockets.
  static void ServeFarEnds(FarEnds* far_ends);
  // Returns whether the shared loop serves far ends. All local sockets then belong in it.
  static bool ServesFarEnds();
  // Lets the shared loop have no thread, to the end of the process. Returns false if it has one already.
  static bool TakeTurnsAtShared();

  EventLoop() : EventLoop(/*has_thread=*/true) {}
  // Calls Stop.
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Returns false, with errno, if the kernel has no room.
  bool Add(int fd, uint32_t events, Watch* watch);
  void Change(int fd, uint32_t events, Watch* watch);
  void Remove(int fd);
  // Removes and closes `*fd`, which is none afterwards; does nothing if it is none already. A process that forks lends
  // its child a copy of each fd until that execs: close alone would leave the kernel with a pointer to a watch that has
  // gone.
  void Close(Fd* fd);

  // Runs `task` in the loop's thread, in order. Drops it once the loop has stopped.
  void Post(std::function<void()> task);
  // Runs `task` later by the machine's clock: for retries and lingering, not for anything that a test must be able to
  // pass over.
  void PostAfter(absl::Duration delay, std::function<void()> task);
  // Runs `task` in the loop's thread and waits until it has run; at once if called in the loop. If the loop has no
  // thread, this one takes the turn.
  void Run(const std::function<void()>& task);

  bool has_thread() const { return !timer_fd_.ok(); }
  // Handles on this thread, without waiting, all that is ready in a loop without a thread. If another thread has the
  // turn, that one does it, and this returns at once. Does nothing if called in the loop.
  void Turn();
  // Returns a descriptor that becomes readable when there is something to do in a turn.
  int fd() const { return epoll_fd_.get(); }

  // Should be called when a local socket has been read, written or closed: its far end is served after this batch of
  // events, and one turn later otherwise.
  void TouchedLocalSocket() { far_ends_due_ = true; }

  // Frees the handler after the events of this batch.
  void Retire(std::shared_ptr<void> handler) { retired_.push_back(std::move(handler)); }
  Scratch& scratch() { return scratch_; }
  bool InLoop() const { return runner_.load(std::memory_order_relaxed) == std::this_thread::get_id(); }

  // Ends the thread and drops the tasks that have not run. Must not be called from the loop itself; further calls
  // change nothing.
  void Stop();

 private:
  using Instant = std::chrono::steady_clock::time_point;

  explicit EventLoop(bool has_thread);

  void Loop();
  // Waits for events for so long, and handles them. Returns whether there were any.
  bool Pass(int timeout_millis);
  void RunPosted();
  int TimeoutMillis();
  // Lets the timer's descriptor wake for the delayed task that is due next.
  void SetTimer();
  void RunInTurn(const std::function<void()>& task);
  // Does this, in the loop.
  void HaveTurn(const std::function<void()>& work);
  // Handles what is ready for as long as somebody has asked for it, and gives the turn back.
  void EndTurn();

  const Fd epoll_fd_;
  const Fd wake_fd_;
  // Only if there is no thread, which would wait until then.
  const Fd timer_fd_;
  Instant timer_at_ = Instant::max();
  Scratch scratch_;
  std::vector<std::shared_ptr<void>> retired_;
  std::multimap<Instant, std::function<void()>> delayed_;
  bool far_ends_due_ = false;
  Mutex mutex_;
  std::vector<std::function<void()>> posted_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::atomic<bool> stopping_{false};
  // Whoever runs handlers now.
  std::atomic<std::thread::id> runner_{};
  Mutex turn_mutex_;
  CondVar turn_over_;
  bool turn_taken_ ABSL_GUARDED_BY(turn_mutex_) = false;
  // Somebody has asked for a turn since the last look at what is ready.
  bool turn_due_ ABSL_GUARDED_BY(turn_mutex_) = false;
  std::thread thread_;
};

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_EVENT_LOOP_H_
