// Threads for handlers that block on the store, so that gRPC's own never do.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_LIB_RPC_WORKER_POOL_H_
#define PARLEY_LIB_RPC_WORKER_POOL_H_

#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "lib/base/mutex.h"

namespace parley::rpc {

class WorkerPool {
 public:
  explicit WorkerPool(int threads);
  // Finishes what was given to it.
  ~WorkerPool();

  void Run(std::function<void()> work);

 private:
  void Work();

  Mutex mutex_;
  CondVar wake_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;
};

// Runs what is given to it one after another, on a pool: the order of one stream's messages.
class Strand {
 public:
  // `pool` must outlive the strand's last work.
  explicit Strand(WorkerPool* pool);

  void Run(std::function<void()> work);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace parley::rpc

#endif  // PARLEY_LIB_RPC_WORKER_POOL_H_
