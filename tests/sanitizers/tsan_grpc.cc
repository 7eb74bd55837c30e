// Shows ThreadSanitizer how gRPC passes things from thread to thread.
//
// gRPC locks with Abseil's mutex and hands over by queues of its own, and Debian builds both without instrumentation:
// whatever passes from thread to thread there would be reported as a race. These functions stand before the real ones,
// because a program's symbols win over those of its libraries; they call the real ones, and tell ThreadSanitizer who
// follows whom. Linked into tests by --config=tsan, and into nothing else.
//
// They are named by their symbols, because no header has most of them. Abseil's are those that gRPC 1.51 imports.
#include <dlfcn.h>
#include <stddef.h>
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

// Begins the definition of a function that has this symbol; name##Real() is the one of the library.
#define SHADOW(result, name, symbol, parameters)                                                  \
  extern "C" result name parameters __asm__(symbol) __attribute__((used, visibility("default"))); \
  static auto name##Real() {                                                                      \
    static auto* const real = Real<result parameters>(symbol);                                    \
    return real;                                                                                  \
  }                                                                                               \
  result name parameters

// Locks.

SHADOW(void, MutexLock, "_ZN4absl7debian35Mutex4LockEv", (void* mutex)) {
  MutexLockReal()(mutex);
  __tsan_acquire(mutex);
}

SHADOW(void, MutexUnlock, "_ZN4absl7debian35Mutex6UnlockEv", (void* mutex)) {
  __tsan_release(mutex);
  MutexUnlockReal()(mutex);
}

SHADOW(bool, MutexTryLock, "_ZN4absl7debian35Mutex7TryLockEv", (void* mutex)) {
  const bool locked = MutexTryLockReal()(mutex);
  if (locked) __tsan_acquire(mutex);
  return locked;
}

// The lock begins with the address of its mutex.
SHADOW(void, LockRelease, "_ZN4absl7debian319ReleasableMutexLock7ReleaseEv", (void** lock)) {
  __tsan_release(*lock);
  LockReleaseReal()(lock);
}

SHADOW(void, Wait, "_ZN4absl7debian37CondVar4WaitEPNS0_5MutexE", (void* condition, void* mutex)) {
  __tsan_release(mutex);
  WaitReal()(condition, mutex);
  __tsan_acquire(mutex);
}

SHADOW(bool, WaitWithTimeout, "_ZN4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE",
       (void* condition, void* mutex, absl::Duration timeout)) {
  __tsan_release(mutex);
  const bool timed_out = WaitWithTimeoutReal()(condition, mutex, timeout);
  __tsan_acquire(mutex);
  return timed_out;
}

SHADOW(bool, WaitWithDeadline, "_ZN4absl7debian37CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE",
       (void* condition, void* mutex, absl::Time deadline)) {
  __tsan_release(mutex);
  const bool timed_out = WaitWithDeadlineReal()(condition, mutex, deadline);
  __tsan_acquire(mutex);
  return timed_out;
}

// Queues: what was pushed has been made before it is popped.

SHADOW(bool, Push, "_ZN9grpc_core32MultiProducerSingleConsumerQueue4PushEPNS0_4NodeE", (void* queue, void* node)) {
  __tsan_release(node);
  return PushReal()(queue, node);
}

SHADOW(void*, Pop, "_ZN9grpc_core32MultiProducerSingleConsumerQueue3PopEv", (void* queue)) {
  void* const node = PopReal()(queue);
  if (node != nullptr) __tsan_acquire(node);
  return node;
}

SHADOW(void*, PopAndCheckEnd, "_ZN9grpc_core32MultiProducerSingleConsumerQueue14PopAndCheckEndEPb",
       (void* queue, bool* empty)) {
  void* const node = PopAndCheckEndReal()(queue, empty);
  if (node != nullptr) __tsan_acquire(node);
  return node;
}

// Operations: what was done before one was begun has happened when it ends. The tag names it. The status is not
// trivial, so it comes by its address.

SHADOW(int, StartBatch, "grpc_call_start_batch",
       (void* call, const void* operations, size_t count, void* tag, void* reserved)) {
  __tsan_release(tag);
  return StartBatchReal()(call, operations, count, tag, reserved);
}

SHADOW(void, EndOperation,
       "_Z14grpc_cq_end_opP21grpc_completion_queuePvN4absl7debian36StatusEPFvS1_P18grpc_cq_completionES1_S6_b",
       (void* completions, void* tag, void* status, void* done, void* done_argument, void* storage, bool internal)) {
  __tsan_acquire(tag);
  EndOperationReal()(completions, tag, status, done, done_argument, storage, internal);
}

// Calls of the callback API: every reaction to one has returned before its end. Each has counted down at this place of
// the call, seen by ThreadSanitizer; the last one, in gRPC's library, is not.

SHADOW(void, ScheduleOnDone, "_ZN4grpc8internal18ServerCallbackCall14ScheduleOnDoneEb", (char* call, bool at_once)) {
  constexpr int kOutstandingOffset = 12;
  __tsan_acquire(call + kOutstandingOffset);
  ScheduleOnDoneReal()(call, at_once);
}
