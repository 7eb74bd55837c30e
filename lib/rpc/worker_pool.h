// Threads for handlers that block on the store, so that those on which gRPC calls handlers never do.
//
// Work belongs to flows, one for each connection, which take turns: a peer that asks for much waits behind itself, not
// before the others. Flows of people and services come before those of machines, of which one in every eight turns is
// kept, so that neither waits for ever.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_LIB_RPC_WORKER_POOL_H_
#define PARLEY_LIB_RPC_WORKER_POOL_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <unordered_map>
#include <vector>

#include "lib/base/mutex.h"
#include "lib/transport/peer.h"

namespace parley::rpc {

struct Flow {
  // 0 is the service's own work.
  uint64_t id = 0;
  bool preferred = false;

  static Flow Of(const transport::Peer& peer);
};

class WorkerPool {
 public:
  // The number of calls of one flow that may wait.
  static constexpr size_t kMaxWaiting = 1024;

  explicit WorkerPool(int threads);
  // Finishes the work that was given to it.
  ~WorkerPool();

  void Run(Flow flow, std::function<void()> work);
  // Runs work of the service itself.
  void Run(std::function<void()> work) { Run(Flow(), std::move(work)); }
  // Runs the work like Run. If kMaxWaiting of this flow wait already, returns false and leaves the work to the caller.
  bool TryRun(Flow flow, std::function<void()>* work);

  // Returns whether the calling thread is one of a pool.
  static bool OnWorker();

 private:
  using Queue = std::deque<std::function<void()>>;
  // A thread without work. Whoever wakes it does so after releasing the lock. By then the pool may be gone, so both
  // threads share this.
  struct Idle {
    CondVar wake;
    bool called = false;
  };
  // The flows of one kind, and the order of their turns.
  struct Lane {
    std::unordered_map<uint64_t, Queue> flows;
    std::deque<uint64_t> turns;
  };

  void Work();
  // Returns the thread that is to be woken, if there is one.
  std::shared_ptr<Idle> Add(Flow flow, std::function<void()> work) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static void Wake(const std::shared_ptr<Idle>& idle);
  void WaitForWork(const std::shared_ptr<Idle>& self) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::function<void()> Next() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Lane* LaneOf(bool preferred) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return &lanes_[preferred ? 0 : 1]; }

  Mutex mutex_;
  // The one that has worked last is the last one, and the first to be called: its caches are warm.
  std::vector<std::shared_ptr<Idle>> idle_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  // The first lane has the preferred flows, the second the others.
  Lane lanes_[2] ABSL_GUARDED_BY(mutex_);
  // The turns that the first lane has had in a row while the second waited.
  int in_a_row_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<std::thread> threads_;
};

// Runs work on a pool, one piece after another: the order of one stream's messages.
class Strand {
 public:
  // `pool` must outlive the strand's last work.
  Strand(WorkerPool* pool, Flow flow);

  void Run(std::function<void()> work);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace parley::rpc

#endif  // PARLEY_LIB_RPC_WORKER_POOL_H_
