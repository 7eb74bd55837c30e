// A mutex that both clang's thread-safety analysis and ThreadSanitizer understand.
//
// Abseil's mutex has the annotations, but Debian's build of it is not instrumented, and ThreadSanitizer does not see
// its futex calls: it would report every access that the mutex guards as a race. ThreadSanitizer sees the standard
// mutex, which has no annotations in libstdc++. docs/adr/0003-mutex.md has the reasons.
//
// Threads: all methods may be called from any thread, but for MutexLock, which belongs to the thread that made it.
#ifndef PARLEY_LIB_BASE_MUTEX_H_
#define PARLEY_LIB_BASE_MUTEX_H_

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "absl/base/thread_annotations.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace parley {

class ABSL_LOCKABLE Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { mutex_.lock(); }
  void Unlock() ABSL_UNLOCK_FUNCTION() { mutex_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex* mutex) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex) : mutex_(mutex) { mutex_->Lock(); }
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mutex_->Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex* const mutex_;
};

// A wait may end without a cause: always wait in a loop over the condition.
class CondVar {
 public:
  void Wait(Mutex* mutex) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    std::unique_lock<std::mutex> lock(mutex->mutex_, std::adopt_lock);
    condition_.wait(lock);
    lock.release();
  }

  // Waits for at most `timeout`. Returns false if the wait ended because that time was over.
  bool WaitFor(Mutex* mutex, absl::Duration timeout) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    std::unique_lock<std::mutex> lock(mutex->mutex_, std::adopt_lock);
    // A day at a time: the arithmetic of wait_for overflows for an infinite duration.
    const auto limit = absl::ToChronoMilliseconds(std::min(timeout, absl::Hours(24)) + absl::Milliseconds(1));
    const bool notified = condition_.wait_for(lock, limit) == std::cv_status::no_timeout;
    lock.release();
    return notified;
  }

  // Waits until `deadline` of the system's clock at most. Returns false if that has passed.
  bool WaitUntil(Mutex* mutex, absl::Time deadline) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    const absl::Duration left = deadline - absl::Now();
    if (left > absl::ZeroDuration()) WaitFor(mutex, left);
    return left > absl::ZeroDuration();
  }

  void NotifyOne() { condition_.notify_one(); }
  void NotifyAll() { condition_.notify_all(); }

 private:
  std::condition_variable condition_;
};

}  // namespace parley

#endif  // PARLEY_LIB_BASE_MUTEX_H_
