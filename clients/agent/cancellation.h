// Ends what a session waits for, when its owner wants it to stop.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_CLIENTS_AGENT_CANCELLATION_H_
#define PARLEY_CLIENTS_AGENT_CANCELLATION_H_

#include <cstdint>
#include <functional>
#include <map>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "lib/base/fd.h"
#include "lib/base/mutex.h"

namespace parley::agent {

class Stop;

class Cancellation {
 public:
  Cancellation() = default;
  Cancellation(const Cancellation&) = delete;
  Cancellation& operator=(const Cancellation&) = delete;

  // Cancels for good, and calls the listeners.
  void Cancel();
  bool cancelled() const;
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
  mutable Mutex mutex_;
  CondVar changed_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t last_id_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, std::function<void()>> listeners_ ABSL_GUARDED_BY(mutex_);
};

// Cancels when `stop` is requested, by a thread of its own. `stop` may be null.
class StopWatcher {
 public:
  StopWatcher(const Stop* stop, Cancellation* cancellation);
  ~StopWatcher();
  StopWatcher(const StopWatcher&) = delete;
  StopWatcher& operator=(const StopWatcher&) = delete;

 private:
  Fd end_fd_;
  std::thread thread_;
};

// Makes the error of what was stopped before its end: CANCELLED (STOPPED).
absl::Status Stopped();

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_CANCELLATION_H_
