#include "lib/rpc/worker_pool.h"

#include <utility>

#include "absl/hash/hash.h"

namespace parley::rpc {
namespace {

constexpr int kTurnsInARow = 7;
// A strand's pieces of work in one turn of its flow.
constexpr int kPiecesInATurn = 16;

thread_local bool on_worker = false;

}  // namespace

Flow Flow::Of(const transport::Peer& peer) {
  return {absl::Hash<transport::ConnectionId>()(peer.connection_id), peer.key.preferred};
}

WorkerPool::WorkerPool(int threads) {
  threads_.reserve(threads);
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
}

WorkerPool::~WorkerPool() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    for (const auto& idle : idle_) idle->wake.NotifyOne();
  }
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::Run(Flow flow, std::function<void()> work) {
  std::shared_ptr<Idle> idle;
  {
    MutexLock lock(&mutex_);
    idle = Add(flow, std::move(work));
  }
  Wake(idle);
}

bool WorkerPool::TryRun(Flow flow, std::function<void()>* work) {
  std::shared_ptr<Idle> idle;
  {
    MutexLock lock(&mutex_);
    const Lane& lane = *LaneOf(flow.preferred);
    const auto found = lane.flows.find(flow.id);
    if (found != lane.flows.end() && found->second.size() >= kMaxWaiting) return false;
    idle = Add(flow, std::move(*work));
  }
  Wake(idle);
  return true;
}

// A thread that is woken under the lock would wait for it.
void WorkerPool::Wake(const std::shared_ptr<Idle>& idle) {
  if (idle != nullptr) idle->wake.NotifyOne();
}

std::shared_ptr<WorkerPool::Idle> WorkerPool::Add(Flow flow, std::function<void()> work) {
  Lane* const lane = LaneOf(flow.preferred);
  Queue& queue = lane->flows[flow.id];
  if (queue.empty()) lane->turns.push_back(flow.id);
  queue.push_back(std::move(work));
  if (idle_.empty()) return nullptr;
  std::shared_ptr<Idle> idle = std::move(idle_.back());
  idle_.pop_back();
  idle->called = true;
  return idle;
}

void WorkerPool::WaitForWork(const std::shared_ptr<Idle>& self) {
  self->called = false;
  idle_.push_back(self);
  while (!self->called && !stopping_) self->wake.Wait(&mutex_);
}

std::function<void()> WorkerPool::Next() {
  bool preferred = !lanes_[0].turns.empty();
  if (preferred && !lanes_[1].turns.empty() && ++in_a_row_ > kTurnsInARow) preferred = false;
  if (!preferred) in_a_row_ = 0;
  Lane* const lane = LaneOf(preferred);
  const uint64_t id = lane->turns.front();
  lane->turns.pop_front();
  const auto flow = lane->flows.find(id);
  std::function<void()> work = std::move(flow->second.front());
  flow->second.pop_front();
  if (flow->second.empty()) {
    lane->flows.erase(flow);
  } else {
    lane->turns.push_back(id);
  }
  return work;
}

bool WorkerPool::OnWorker() { return on_worker; }

void WorkerPool::Work() {
  on_worker = true;
  const auto self = std::make_shared<Idle>();
  mutex_.Lock();
  while (true) {
    if (lanes_[0].turns.empty() && lanes_[1].turns.empty()) {
      if (stopping_) break;
      WaitForWork(self);
      continue;
    }
    std::function<void()> work = Next();
    mutex_.Unlock();
    work();
    work = nullptr;  // What it holds goes before the lock is taken.
    mutex_.Lock();
  }
  mutex_.Unlock();
}

struct Strand::State : std::enable_shared_from_this<State> {
  State(WorkerPool* pool, Flow flow) : pool(pool), flow(flow) {}

  void Schedule() {
    pool->Run(flow, [state = shared_from_this()] { state->Drain(); });
  }

  // Runs what is queued until there is nothing left, or the flow has had its turn.
  void Drain() {
    mutex.Lock();
    for (int pieces = 0; !queue.empty(); ++pieces) {
      if (pieces == kPiecesInATurn) {
        mutex.Unlock();
        return Schedule();
      }
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
  const Flow flow;
  Mutex mutex;
  bool running ABSL_GUARDED_BY(mutex) = false;
  std::deque<std::function<void()>> queue ABSL_GUARDED_BY(mutex);
};

Strand::Strand(WorkerPool* pool, Flow flow) : state_(std::make_shared<State>(pool, flow)) {}

void Strand::Run(std::function<void()> work) {
  {
    MutexLock lock(&state_->mutex);
    state_->queue.push_back(std::move(work));
    if (std::exchange(state_->running, true)) return;
  }
  state_->Schedule();
}

}  // namespace parley::rpc
