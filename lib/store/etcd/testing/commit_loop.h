// Commits under load, and what a watch must have seen of them, for tests.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_LIB_STORE_ETCD_TESTING_COMMIT_LOOP_H_
#define PARLEY_LIB_STORE_ETCD_TESTING_COMMIT_LOOP_H_

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "lib/base/error.h"
#include "lib/base/mutex.h"
#include "lib/store/seen_testing.h"
#include "lib/store/store.h"

namespace parley::store {

// Commits numbered values to the key "w" without a pause, and remembers which were acknowledged.
class CommitLoop {
 public:
  explicit CommitLoop(Store* store) : thread_([this, store] { Run(store); }) {}
  ~CommitLoop() { Stop(); }
  void Stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  // Waits until this many more commits were acknowledged.
  void Await(int more) {
    MutexLock lock(&mutex_);
    const size_t enough = acknowledged_.size() + more;
    while (acknowledged_.size() < enough) changed_.Wait(&mutex_);
  }
  // From revision to number.
  std::map<int64_t, int> acknowledged() {
    MutexLock lock(&mutex_);
    return acknowledged_;
  }

 private:
  void Run(Store* store) {
    for (int i = 0; !stop_; ++i) {
      const auto revision = store->Commit(Transaction().Set("w", absl::StrCat(i)));
      EXPECT_THAT(Reason(revision.status()), testing::AnyOf("", "STORE_UNAVAILABLE"));
      if (!revision.ok()) continue;
      MutexLock lock(&mutex_);
      acknowledged_[*revision] = i;
      changed_.NotifyAll();
    }
  }

  Mutex mutex_;
  CondVar changed_;
  std::map<int64_t, int> acknowledged_ ABSL_GUARDED_BY(mutex_);
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

// Waits until a watch of "w" has seen this revision. Everything that was acknowledged must have been seen, once, in
// order, with the value and at the revision that was said.
inline void ExpectComplete(Seen& watched, int64_t last, const std::map<int64_t, int>& acknowledged) {
  std::vector<Change> changes;
  while (changes.empty() || changes.back().mod_revision < last) {
    const size_t before = changes.size();
    changes = watched.Wait(before + 1);
    ASSERT_GT(changes.size(), before) << "the watch ended: " << watched.WaitForError();
  }
  std::map<int64_t, std::string> seen;
  for (const Change& change : changes) {
    if (!seen.empty()) EXPECT_GT(change.mod_revision, seen.rbegin()->first) << "out of order, or twice";
    seen[change.mod_revision] = change.value.value_or("deleted");
  }
  for (const auto& [revision, value] : acknowledged) EXPECT_EQ(seen[revision], absl::StrCat(value)) << revision;
}

// Commits through the first of three members and watches through each of them, disturbs one after the other under that
// load, and expects that no watch has missed anything. `open` opens the store at a member; the other two begin and end
// the disturbance of one.
inline void ExpectNothingMissed(const std::function<std::unique_ptr<Store>(int member)>& open,
                                const std::function<void(int member)>& begin,
                                const std::function<void(int member)>& end) {
  const auto store = open(0);
  std::vector<std::unique_ptr<Store>> stores;
  std::vector<std::unique_ptr<Seen>> seen;
  std::vector<std::unique_ptr<Watch>> watches;
  for (int i = 0; i < 3; ++i) {
    stores.push_back(open(i));
    seen.push_back(std::make_unique<Seen>());
    watches.push_back(*stores[i]->WatchRange(KeyRange::Prefix("w"), *store->Revision(), seen[i]->Callback()));
  }
  CommitLoop writer(store.get());
  writer.Await(50);
  for (int i = 0; i < 3; ++i) {
    begin(i);
    writer.Await(50);
    end(i);
    writer.Await(50);
  }
  writer.Stop();
  int64_t last = 0;
  while (last == 0) last = store->Commit(Transaction().Set("w", "last")).value_or(0);
  for (const auto& each : seen) ExpectComplete(*each, last, writer.acknowledged());
}

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_ETCD_TESTING_COMMIT_LOOP_H_
