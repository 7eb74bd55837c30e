#include "lib/store/watch_dispatcher.h"

#include <algorithm>
#include <utility>

namespace parley::store {
namespace {

bool Contains(const KeyRange& range, const std::string& key) {
  return key >= range.begin && (range.end.empty() || key < range.end);
}

}  // namespace

class WatchDispatcher::Handle final : public Watch {
 public:
  Handle(std::shared_ptr<WatchDispatcher> dispatcher, WatcherPtr watcher)
      : dispatcher_(std::move(dispatcher)), watcher_(std::move(watcher)) {}
  ~Handle() override { dispatcher_->Remove(watcher_); }

 private:
  const std::shared_ptr<WatchDispatcher> dispatcher_;
  const WatcherPtr watcher_;
};

std::shared_ptr<WatchDispatcher> WatchDispatcher::Create(int64_t revision, ReadHistory read_history) {
  return std::shared_ptr<WatchDispatcher>(new WatchDispatcher(revision, std::move(read_history)));
}

WatchDispatcher::WatchDispatcher(int64_t revision, ReadHistory read_history)
    : read_history_(std::move(read_history)), dispatched_(revision) {
  thread_ = std::thread([this] { Run(); });
}

WatchDispatcher::~WatchDispatcher() { Stop(); }

void WatchDispatcher::Stop() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    wake_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void WatchDispatcher::Publish(int64_t revision, std::vector<Change> changes) {
  MutexLock lock(&mutex_);
  if (by_prefix_.empty() && others_.empty()) {
    // Nobody is live: who is behind or comes later reads history.
    pending_.clear();
    pending_bytes_ = 0;
    dispatched_ = revision;
    if (!behind_.empty()) wake_.NotifyAll();
    return;
  }
  Batch batch{revision, std::move(changes), 0};
  for (const Change& change : batch.changes) {
    batch.bytes += sizeof(Change) + change.key.size() + (change.value.has_value() ? change.value->size() : 0);
  }
  pending_bytes_ += batch.bytes;
  pending_.push_back(std::move(batch));
  if (pending_bytes_ > kMaxPendingBytes) FallBehind();
  wake_.NotifyAll();
}

std::unique_ptr<Watch> WatchDispatcher::Add(const KeyRange& range, int64_t revision, Store::WatchCallback callback) {
  auto watcher = std::make_shared<Watcher>();
  watcher->range = range;
  watcher->prefix = range.end == KeyRange::Prefix(range.begin).end;
  watcher->callback = std::move(callback);
  watcher->seen = revision;
  {
    MutexLock lock(&mutex_);
    if (revision >= dispatched_) {
      MakeLive(watcher);
    } else {
      behind_.push_back(watcher);
      wake_.NotifyAll();
    }
  }
  return std::make_unique<Handle>(shared_from_this(), std::move(watcher));
}

void WatchDispatcher::Remove(const WatcherPtr& watcher) {
  MutexLock lock(&mutex_);
  watcher->ended = true;
  ForgetLive(watcher);
  behind_.erase(std::remove(behind_.begin(), behind_.end(), watcher), behind_.end());
  if (std::this_thread::get_id() == thread_.get_id()) return;
  while (running_ == watcher) wake_.Wait(&mutex_);
  // Here and not on the dispatcher's thread, so that what it captured goes while its owner is still there.
  watcher->callback = nullptr;
}

void WatchDispatcher::Run() {
  mutex_.Lock();
  while (!stopping_) {
    if (pending_.empty() && behind_.empty()) {
      wake_.Wait(&mutex_);
      continue;
    }
    // Live watches are not held up by those that are behind: they take turns, a piece of history at a time.
    if (!pending_.empty()) {
      Batch batch = std::move(pending_.front());
      pending_.pop_front();
      pending_bytes_ -= batch.bytes;
      Deliver(std::move(batch));
    }
    if (!behind_.empty() && !stopping_) {
      const WatcherPtr watcher = std::move(behind_.front());
      behind_.pop_front();
      CatchUp(watcher);
    }
  }
  mutex_.Unlock();
}

void WatchDispatcher::Deliver(Batch batch) {
  std::map<WatcherPtr, std::vector<Change>> matched;
  const auto match = [&matched](const WatcherPtr& watcher, const Change& change) {
    if (change.mod_revision > watcher->seen) matched[watcher].push_back(change);
  };
  for (const Change& change : batch.changes) {
    for (const auto& [length, watchers] : by_prefix_) {
      if (length > change.key.size()) break;
      const auto found = watchers.find(change.key.substr(0, length));
      if (found == watchers.end()) continue;
      for (const WatcherPtr& watcher : found->second) match(watcher, change);
    }
    for (const WatcherPtr& watcher : others_) {
      if (Contains(watcher->range, change.key)) match(watcher, change);
    }
  }
  dispatched_ = batch.revision;
  // Before the first callback, so that falling behind during one repeats nothing.
  for (const auto& [watcher, changes] : matched) watcher->seen = batch.revision;
  for (auto& [watcher, changes] : matched) Call(watcher, std::move(changes), batch.revision);
}

void WatchDispatcher::CatchUp(const WatcherPtr& watcher) {
  const int64_t target = dispatched_;
  if (watcher->seen < target) {
    mutex_.Unlock();
    absl::StatusOr<History> history = read_history_(watcher->range, watcher->seen, target);
    mutex_.Lock();
    if (!history.ok()) return Call(watcher, history.status(), watcher->seen);
    watcher->seen = history->reached;
    if (!history->changes.empty()) Call(watcher, std::move(history->changes), watcher->seen);
  }
  if (watcher->ended) return;
  // Publish may have moved on while nobody was live.
  if (watcher->seen >= dispatched_) {
    MakeLive(watcher);
  } else {
    behind_.push_back(watcher);
  }
}

void WatchDispatcher::Call(const WatcherPtr& watcher, absl::StatusOr<std::vector<Change>> changes, int64_t revision) {
  if (watcher->ended || stopping_) return;
  if (!changes.ok()) watcher->ended = true;
  running_ = watcher;
  mutex_.Unlock();
  watcher->callback(std::move(changes), revision);
  mutex_.Lock();
  running_ = nullptr;
  wake_.NotifyAll();
}

void WatchDispatcher::MakeLive(const WatcherPtr& watcher) {
  if (watcher->prefix) {
    by_prefix_[watcher->range.begin.size()][watcher->range.begin].insert(watcher);
  } else {
    others_.insert(watcher);
  }
}

void WatchDispatcher::ForgetLive(const WatcherPtr& watcher) {
  others_.erase(watcher);
  const auto length = by_prefix_.find(watcher->range.begin.size());
  if (!watcher->prefix || length == by_prefix_.end()) return;
  const auto prefix = length->second.find(watcher->range.begin);
  if (prefix == length->second.end()) return;
  prefix->second.erase(watcher);
  if (prefix->second.empty()) length->second.erase(prefix);
  if (length->second.empty()) by_prefix_.erase(length);
}

void WatchDispatcher::FallBehind() {
  const int64_t newest = pending_.back().revision;
  // Whom a batch did not concern has seen it all the same.
  const auto fall = [this](const WatcherPtr& watcher) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    watcher->seen = std::max(watcher->seen, dispatched_);
    behind_.push_back(watcher);
  };
  for (const auto& [length, watchers] : by_prefix_) {
    for (const auto& [prefix, some] : watchers) {
      for (const WatcherPtr& watcher : some) fall(watcher);
    }
  }
  for (const WatcherPtr& watcher : others_) fall(watcher);
  by_prefix_.clear();
  others_.clear();
  pending_.clear();
  pending_bytes_ = 0;
  dispatched_ = newest;
}

}  // namespace parley::store
