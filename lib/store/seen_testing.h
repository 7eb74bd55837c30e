// What a watch has yielded so far, for tests.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_LIB_STORE_SEEN_TESTING_H_
#define PARLEY_LIB_STORE_SEEN_TESTING_H_

#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "lib/base/mutex.h"
#include "lib/store/store.h"

namespace parley::store {

// Collects what a watch yields.
class Seen {
 public:
  Store::WatchCallback Callback() {
    return [this](absl::StatusOr<std::vector<Change>> changes, int64_t revision) {
      MutexLock lock(&mutex_);
      if (changes.ok()) {
        for (Change& change : *changes) changes_.push_back(std::move(change));
      } else {
        error_ = changes.status();
      }
      revision_ = revision;
      ++calls_;
      arrived_.NotifyAll();
    };
  }
  // Waits for this many changes; all that came.
  std::vector<Change> Wait(size_t count) {
    MutexLock lock(&mutex_);
    while (changes_.size() < count && error_.ok()) arrived_.Wait(&mutex_);
    return changes_;
  }
  // Returns whether this many changes come within a time.
  bool WaitFor(size_t count, absl::Duration time) {
    const absl::Time limit = absl::Now() + time;
    MutexLock lock(&mutex_);
    while (changes_.size() < count && arrived_.WaitUntil(&mutex_, limit)) {
    }
    return changes_.size() >= count;
  }
  absl::Status WaitForError() {
    MutexLock lock(&mutex_);
    while (error_.ok()) arrived_.Wait(&mutex_);
    return error_;
  }
  int64_t revision() {
    MutexLock lock(&mutex_);
    return revision_;
  }
  int calls() {
    MutexLock lock(&mutex_);
    return calls_;
  }

 private:
  Mutex mutex_;
  CondVar arrived_;
  std::vector<Change> changes_ ABSL_GUARDED_BY(mutex_);
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
  int64_t revision_ ABSL_GUARDED_BY(mutex_) = 0;
  int calls_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_SEEN_TESTING_H_
