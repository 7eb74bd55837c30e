#include "lib/base/timer_queue.h"

namespace parley {

TimerQueue::TimerQueue(Clock* clock) : clock_(clock) {
  subscription_ = clock_->Subscribe([this] {
    MutexLock lock(&mutex_);
    wake_.NotifyAll();
  });
  thread_ = std::thread([this] { Run(); });
}

TimerQueue::~TimerQueue() { Stop(); }

void TimerQueue::Stop() {
  if (!thread_.joinable()) return;
  clock_->Unsubscribe(subscription_);
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    wake_.NotifyAll();
  }
  thread_.join();
  std::map<Key, std::function<void()>> dropped;
  {
    MutexLock lock(&mutex_);
    dropped.swap(timers_);
    times_.clear();
  }
}

TimerQueue::TimerId TimerQueue::Schedule(absl::Time when, std::function<void()> callback) {
  MutexLock lock(&mutex_);
  const TimerId id = ++last_id_;
  if (stopping_) return id;
  const auto position = timers_.emplace(Key(when, id), std::move(callback)).first;
  times_.emplace(id, when);
  if (position == timers_.begin()) wake_.NotifyAll();
  return id;
}

bool TimerQueue::Cancel(TimerId id) {
  MutexLock lock(&mutex_);
  const auto found = times_.find(id);
  if (found == times_.end()) return false;
  timers_.erase(Key(found->second, id));
  times_.erase(found);
  return true;
}

void TimerQueue::Run() {
  mutex_.Lock();
  while (!stopping_) {
    if (timers_.empty()) {
      wake_.Wait(&mutex_);
      continue;
    }
    const auto first = timers_.begin();
    const absl::Duration left = first->first.first - clock_->Now();
    if (left > absl::ZeroDuration()) {
      wake_.WaitFor(&mutex_, left);
      continue;
    }
    std::function<void()> callback = std::move(first->second);
    times_.erase(first->first.second);
    timers_.erase(first);
    mutex_.Unlock();
    callback();
    callback = nullptr;
    mutex_.Lock();
  }
  mutex_.Unlock();
}

}  // namespace parley
