// Delivers committed changes to watches, each in order and none twice, on one thread.
//
// A watch that is up to date is live: it gets changes as they are published. One that is behind, because it began in
// the past or because callbacks were slower than commits, reads its history from the store until it is live. The
// changes that wait for delivery are bounded: beyond kMaxPendingBytes they are dropped, and the watches read them as
// history.
//
// Threads: all methods may be called from any thread, but Publish in order of revision, and never from two at once.
#ifndef PARLEY_LIB_STORE_WATCH_DISPATCHER_H_
#define PARLEY_LIB_STORE_WATCH_DISPATCHER_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "lib/base/mutex.h"
#include "lib/store/store.h"

namespace parley::store {

class WatchDispatcher : public std::enable_shared_from_this<WatchDispatcher> {
 public:
  static constexpr size_t kMaxPendingBytes = 32 << 20;

  struct History {
    std::vector<Change> changes;
    // All changes up to and with this revision are there.
    int64_t reached = 0;
  };
  // Returns the changes of a range after one revision, up to another one or as far as fits into a call. Runs on the
  // dispatcher's thread.
  using ReadHistory = std::function<absl::StatusOr<History>(const KeyRange& range, int64_t after, int64_t up_to)>;

  // `revision` is the newest at the start.
  static std::shared_ptr<WatchDispatcher> Create(int64_t revision, ReadHistory read_history);
  ~WatchDispatcher();

  // Publishes the changes of commits up to and with `revision`.
  void Publish(int64_t revision, std::vector<Change> changes);
  std::unique_ptr<Watch> Add(const KeyRange& range, int64_t revision, Store::WatchCallback callback);
  // Waits for a callback that is running. None runs afterwards.
  void Stop();

 private:
  struct Watcher {
    KeyRange range;
    bool prefix = false;
    Store::WatchCallback callback;
    int64_t seen = 0;
    bool ended = false;
  };
  using WatcherPtr = std::shared_ptr<Watcher>;
  class Handle;
  struct Batch {
    int64_t revision = 0;
    std::vector<Change> changes;
    size_t bytes = 0;
  };

  WatchDispatcher(int64_t revision, ReadHistory read_history);
  void Run();
  void Remove(const WatcherPtr& watcher);
  void Deliver(Batch batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CatchUp(const WatcherPtr& watcher) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Call(const WatcherPtr& watcher, absl::StatusOr<std::vector<Change>> changes, int64_t revision)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void MakeLive(const WatcherPtr& watcher) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ForgetLive(const WatcherPtr& watcher) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FallBehind() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const ReadHistory read_history_;
  Mutex mutex_;
  CondVar wake_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<Batch> pending_ ABSL_GUARDED_BY(mutex_);
  size_t pending_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  // The revision up to which live watches have been given changes.
  int64_t dispatched_ ABSL_GUARDED_BY(mutex_);
  // Live watches of prefixes, by length and then by prefix: a key is matched by one look-up for each length, however
  // many watches there are. Other ranges are few.
  std::map<size_t, std::unordered_map<std::string, std::set<WatcherPtr>>> by_prefix_ ABSL_GUARDED_BY(mutex_);
  std::set<WatcherPtr> others_ ABSL_GUARDED_BY(mutex_);
  std::deque<WatcherPtr> behind_ ABSL_GUARDED_BY(mutex_);
  WatcherPtr running_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_WATCH_DISPATCHER_H_
