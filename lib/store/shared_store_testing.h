// A store as one of several processes sees it: the same as the others', until this process is cut off from it.
#ifndef PARLEY_LIB_STORE_SHARED_STORE_TESTING_H_
#define PARLEY_LIB_STORE_SHARED_STORE_TESTING_H_

#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "lib/base/error.h"
#include "lib/base/mutex.h"
#include "lib/store/store.h"

namespace parley::store {

// Threads: all methods may be called from any thread.
class SharedStore final : public Store {
 public:
  // `store` must outlive this.
  explicit SharedStore(Store* store) : store_(store) {}

  // While it is cut off every call fails with STORE_UNAVAILABLE, and watches tell nothing. They break when it ends.
  void CutOff(bool cut_off) {
    std::set<std::shared_ptr<Watching>> watches;
    {
      MutexLock lock(&mutex_);
      cut_off_ = cut_off;
      if (!cut_off) watches.swap(watches_);
    }
    for (const auto& watching : watches) watching->Tell(Unavailable(), 0);
  }
  // Waits until leases were renewed this often.
  void AwaitRenewals(int count) {
    MutexLock lock(&mutex_);
    while (renewals_ < count) changed_.Wait(&mutex_);
  }

  absl::StatusOr<Entry> Get(absl::string_view key, int64_t revision) override {
    RETURN_IF_ERROR(Check());
    return store_->Get(key, revision);
  }
  absl::StatusOr<Page> List(const KeyRange& range, size_t limit, int64_t revision) override {
    RETURN_IF_ERROR(Check());
    return store_->List(range, limit, revision);
  }
  absl::StatusOr<int64_t> Revision() override {
    RETURN_IF_ERROR(Check());
    return store_->Revision();
  }
  absl::StatusOr<int64_t> Commit(Transaction transaction) override {
    RETURN_IF_ERROR(Check());
    return store_->Commit(std::move(transaction));
  }
  absl::StatusOr<std::unique_ptr<Watch>> WatchRange(const KeyRange& range, int64_t revision,
                                                    WatchCallback callback) override {
    RETURN_IF_ERROR(Check());
    const auto watching = std::make_shared<Watching>(std::move(callback));
    {
      MutexLock lock(&mutex_);
      watches_.insert(watching);
    }
    ASSIGN_OR_RETURN(auto watch, store_->WatchRange(range, revision, [this, watching](auto changes, int64_t at) {
      if (Check().ok()) watching->Tell(std::move(changes), at);
    }));
    return std::make_unique<SharedWatch>(std::move(watch), watching);
  }
  absl::StatusOr<LeaseId> GrantLease(absl::Duration ttl) override {
    RETURN_IF_ERROR(Check());
    return store_->GrantLease(ttl);
  }
  absl::Status KeepLeaseAlive(LeaseId lease) override {
    RETURN_IF_ERROR(Check());
    {
      MutexLock lock(&mutex_);
      ++renewals_;
      changed_.NotifyAll();
    }
    return store_->KeepLeaseAlive(lease);
  }
  absl::StatusOr<absl::Duration> LeaseTime(LeaseId lease) override {
    RETURN_IF_ERROR(Check());
    return store_->LeaseTime(lease);
  }
  absl::Status RevokeLease(LeaseId lease) override {
    RETURN_IF_ERROR(Check());
    return store_->RevokeLease(lease);
  }
  absl::Status Compact(int64_t revision) override {
    RETURN_IF_ERROR(Check());
    return store_->Compact(revision);
  }

 private:
  class Watching {
   public:
    explicit Watching(WatchCallback callback) : callback_(std::move(callback)) {}
    void Tell(absl::StatusOr<std::vector<Change>> changes, int64_t revision) {
      MutexLock lock(&mutex_);
      const bool over = !changes.ok();
      if (callback_) callback_(std::move(changes), revision);
      if (over) callback_ = nullptr;
    }
    void End() {
      MutexLock lock(&mutex_);
      callback_ = nullptr;
    }

   private:
    Mutex mutex_;
    WatchCallback callback_ ABSL_GUARDED_BY(mutex_);
  };
  // Unlike other watches it may not be destroyed in its callback.
  class SharedWatch final : public Watch {
   public:
    SharedWatch(std::unique_ptr<Watch> watch, std::shared_ptr<Watching> watching)
        : watch_(std::move(watch)), watching_(std::move(watching)) {}
    ~SharedWatch() override { watching_->End(); }

   private:
    const std::unique_ptr<Watch> watch_;
    const std::shared_ptr<Watching> watching_;
  };

  static absl::Status Unavailable() {
    return Error(absl::StatusCode::kUnavailable, "STORE_UNAVAILABLE", "this process is cut off from the store");
  }
  absl::Status Check() const {
    MutexLock lock(&mutex_);
    return cut_off_ ? Unavailable() : absl::OkStatus();
  }

  Store* const store_;
  mutable Mutex mutex_;
  CondVar changed_;
  bool cut_off_ ABSL_GUARDED_BY(mutex_) = false;
  std::set<std::shared_ptr<Watching>> watches_ ABSL_GUARDED_BY(mutex_);
  int renewals_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_SHARED_STORE_TESTING_H_
