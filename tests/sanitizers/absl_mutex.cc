// Shows ThreadSanitizer the locks of gRPC.
//
// gRPC locks with Abseil's mutex, and Debian builds Abseil without instrumentation: whatever passes from thread to
// thread under such a lock would be reported as a race. These functions stand before Abseil's own, because a program's
// symbols win over those of its libraries; they do what Abseil does, and tell ThreadSanitizer who follows whom.
// Linked into tests by --config=tsan, and into nothing else. Named by their symbols, so that no header of Abseil's
// mutex is needed; the list is what gRPC's libraries import.
#include <dlfcn.h>
#include <stdlib.h>

#include "absl/time/time.h"

extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
}

namespace {

template <typename Function>
Function* Real(const char* symbol) {
  void* const found = dlsym(RTLD_NEXT, symbol);
  if (found == nullptr) abort();
  return reinterpret_cast<Function*>(found);
}

}  // namespace

#define PARLEY_SYMBOL(name) __asm__(name) __attribute__((used, visibility("default")))

extern "C" {

void MutexLock(void* mutex) PARLEY_SYMBOL("_ZN4absl7debian35Mutex4LockEv");
void MutexLock(void* mutex) {
  static auto* const real = Real<void(void*)>("_ZN4absl7debian35Mutex4LockEv");
  real(mutex);
  __tsan_acquire(mutex);
}

void MutexUnlock(void* mutex) PARLEY_SYMBOL("_ZN4absl7debian35Mutex6UnlockEv");
void MutexUnlock(void* mutex) {
  static auto* const real = Real<void(void*)>("_ZN4absl7debian35Mutex6UnlockEv");
  __tsan_release(mutex);
  real(mutex);
}

bool MutexTryLock(void* mutex) PARLEY_SYMBOL("_ZN4absl7debian35Mutex7TryLockEv");
bool MutexTryLock(void* mutex) {
  static auto* const real = Real<bool(void*)>("_ZN4absl7debian35Mutex7TryLockEv");
  const bool locked = real(mutex);
  if (locked) __tsan_acquire(mutex);
  return locked;
}

// Holds the mutex at its beginning; releasing it is all that it does.
void Release(void** lock) PARLEY_SYMBOL("_ZN4absl7debian319ReleasableMutexLock7ReleaseEv");
void Release(void** lock) {
  static auto* const real = Real<void(void**)>("_ZN4absl7debian319ReleasableMutexLock7ReleaseEv");
  __tsan_release(*lock);
  real(lock);
}

void Wait(void* condition, void* mutex) PARLEY_SYMBOL("_ZN4absl7debian37CondVar4WaitEPNS0_5MutexE");
void Wait(void* condition, void* mutex) {
  static auto* const real = Real<void(void*, void*)>("_ZN4absl7debian37CondVar4WaitEPNS0_5MutexE");
  __tsan_release(mutex);
  real(condition, mutex);
  __tsan_acquire(mutex);
}

bool WaitWithTimeout(void* condition, void* mutex, absl::Duration timeout)
    PARLEY_SYMBOL("_ZN4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE");
bool WaitWithTimeout(void* condition, void* mutex, absl::Duration timeout) {
  static auto* const real =
      Real<bool(void*, void*, absl::Duration)>("_ZN4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE");
  __tsan_release(mutex);
  const bool timed_out = real(condition, mutex, timeout);
  __tsan_acquire(mutex);
  return timed_out;
}

bool WaitWithDeadline(void* condition, void* mutex, absl::Time deadline)
    PARLEY_SYMBOL("_ZN4absl7debian37CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE");
bool WaitWithDeadline(void* condition, void* mutex, absl::Time deadline) {
  static auto* const real =
      Real<bool(void*, void*, absl::Time)>("_ZN4absl7debian37CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE");
  __tsan_release(mutex);
  const bool timed_out = real(condition, mutex, deadline);
  __tsan_acquire(mutex);
  return timed_out;
}

}  // extern "C"
