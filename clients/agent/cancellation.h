// A request to stop, made by another thread or by a signal handler, and whatever waits and must hear of it.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_CLIENTS_AGENT_CANCELLATION_H_
#define PARLEY_CLIENTS_AGENT_CANCELLATION_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "lib/base/fd.h"
#include "lib/base/mutex.h"

namespace parley::agent {

class Cancellation {
 public:
  Cancellation();
  // No listener may be left.
  ~Cancellation();
  Cancellation(const Cancellation&) = delete;
  Cancellation& operator=(const Cancellation&) = delete;

  // Cancels for good. It is async-signal-safe: the listeners are called by another thread.
  void Cancel();
  bool cancelled() const { return cancelled_; }
  // Waits for this time. Returns CANCELLED as soon as it is cancelled.
  absl::Status Sleep(absl::Duration duration);

  // Calls `listener` at the cancellation, and at once if that was before, for as long as this object lives. `listener`
  // must not block.
  class Listener {
   public:
    Listener(Cancellation* cancellation, std::function<void()> listener);
    ~Listener();
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;

   private:
    Cancellation* const cancellation_;
    uint64_t id_ = 0;
  };

 private:
  void CallListeners();

  std::atomic<bool> cancelled_ = false;
  // Readable from the cancellation on.
  const Fd fd_;
  // Readable when the thread must end.
  const Fd end_fd_;
  Mutex mutex_;
  bool called_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t last_id_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, std::function<void()>> listeners_ ABSL_GUARDED_BY(mutex_);
  // Waits for the cancellation from the first listener on.
  std::thread thread_ ABSL_GUARDED_BY(mutex_);
};

// Makes the error of what was stopped before its end: CANCELLED (STOPPED).
absl::Status Stopped();

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_CANCELLATION_H_
