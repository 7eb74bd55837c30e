#include "lib/rpc/worker_pool.h"

#include <utility>

namespace parley::rpc {

WorkerPool::WorkerPool(int threads) {
  threads_.reserve(threads);
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
}

WorkerPool::~WorkerPool() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    wake_.NotifyAll();
  }
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::Run(std::function<void()> work) {
  // Notified under the lock: once the work is done the pool may go.
  MutexLock lock(&mutex_);
  queue_.push_back(std::move(work));
  wake_.NotifyOne();
}

void WorkerPool::Work() {
  mutex_.Lock();
  while (true) {
    if (queue_.empty()) {
      if (stopping_) break;
      wake_.Wait(&mutex_);
      continue;
    }
    std::function<void()> work = std::move(queue_.front());
    queue_.pop_front();
    mutex_.Unlock();
    work();
    work = nullptr;  // What it holds goes before the lock is taken.
    mutex_.Lock();
  }
  mutex_.Unlock();
}

struct Strand::State {
  explicit State(WorkerPool* pool) : pool(pool) {}

  // Runs what is queued until there is nothing left, then lets go of the worker.
  void Drain() {
    mutex.Lock();
    while (!queue.empty()) {
      std::function<void()> work = std::move(queue.front());
      queue.pop_front();
      mutex.Unlock();
      work();
      work = nullptr;
      mutex.Lock();
    }
    running = false;
    mutex.Unlock();
  }

  WorkerPool* const pool;
  Mutex mutex;
  bool running ABSL_GUARDED_BY(mutex) = false;
  std::deque<std::function<void()>> queue ABSL_GUARDED_BY(mutex);
};

Strand::Strand(WorkerPool* pool) : state_(std::make_shared<State>(pool)) {}

void Strand::Run(std::function<void()> work) {
  {
    MutexLock lock(&state_->mutex);
    state_->queue.push_back(std::move(work));
    if (std::exchange(state_->running, true)) return;
  }
  state_->pool->Run([state = state_] { state->Drain(); });
}

}  // namespace parley::rpc
