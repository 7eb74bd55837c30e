#include "lib/transport/grpc_engine.h"

#include <chrono>
#include <map>
#include <memory>
#include <thread>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "grpc/event_engine/event_engine.h"
#include "lib/base/mutex.h"

namespace parley::transport {
namespace {

using grpc_event_engine::experimental::EventEngine;
using Task = absl::AnyInvocable<void()>;

// Runs tasks at their time, by the monotonic clock, one after another on a thread that is made with the first of them.
class Tasks {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Id = std::pair<Time, intptr_t>;

  Id Add(EventEngine::Duration after, Task task) {
    const Time due = std::chrono::steady_clock::now() + std::chrono::duration_cast<Time::duration>(after);
    MutexLock lock(&mutex_);
    const Id id = {due, ++last_};
    const auto position = tasks_.emplace(id, std::move(task)).first;
    if (position == tasks_.begin()) wake_.NotifyOne();
    if (!std::exchange(started_, true)) std::thread([this] { Run(); }).detach();
    return id;
  }
  bool Remove(const Id& id) {
    Task removed;
    MutexLock lock(&mutex_);
    const auto found = tasks_.find(id);
    if (found == tasks_.end()) return false;
    removed = std::move(found->second);
    tasks_.erase(found);
    return true;
  }
  bool IsThread() {
    MutexLock lock(&mutex_);
    return std::this_thread::get_id() == thread_;
  }

 private:
  void Run() {
    mutex_.Lock();
    thread_ = std::this_thread::get_id();
    while (true) {
      if (tasks_.empty()) {
        wake_.Wait(&mutex_);
        continue;
      }
      const auto left = tasks_.begin()->first.first - std::chrono::steady_clock::now();
      if (left > left.zero()) {
        wake_.WaitFor(&mutex_, absl::FromChrono(left));
        continue;
      }
      Task task = std::move(tasks_.begin()->second);
      tasks_.erase(tasks_.begin());
      mutex_.Unlock();
      task();
      task = nullptr;
      mutex_.Lock();
    }
  }

  Mutex mutex_;
  CondVar wake_;
  bool started_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread::id thread_ ABSL_GUARDED_BY(mutex_);
  intptr_t last_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<Id, Task> tasks_ ABSL_GUARDED_BY(mutex_);
};

// gRPC drops an engine that it does not use for a moment, and asks for another. All have the same tasks.
class SleepingEngine final : public EventEngine {
 public:
  void Run(Closure* closure) override { RunAfter(Duration::zero(), closure); }
  void Run(Task task) override { RunAfter(Duration::zero(), std::move(task)); }
  TaskHandle RunAfter(Duration when, Closure* closure) override {
    return RunAfter(when, [closure] { closure->Run(); });
  }
  TaskHandle RunAfter(Duration when, Task task) override {
    const Tasks::Id id = tasks()->Add(when, std::move(task));
    return {static_cast<intptr_t>(id.first.time_since_epoch().count()), id.second};
  }
  bool Cancel(TaskHandle handle) override {
    return tasks()->Remove({Tasks::Time(Tasks::Time::duration(handle.keys[0])), handle.keys[1]});
  }
  bool IsWorkerThread() override { return tasks()->IsThread(); }

  absl::StatusOr<std::unique_ptr<Listener>> CreateListener(
      Listener::AcceptCallback, absl::AnyInvocable<void(absl::Status)>,
      const grpc_event_engine::experimental::EndpointConfig&,
      std::unique_ptr<grpc_event_engine::experimental::MemoryAllocatorFactory>) override {
    return absl::UnimplementedError("this engine has no listeners");
  }
  ConnectionHandle Connect(OnConnectCallback on_connect, const ResolvedAddress&,
                           const grpc_event_engine::experimental::EndpointConfig&,
                           grpc_event_engine::experimental::MemoryAllocator, Duration) override {
    Run([on_connect = std::move(on_connect)]() mutable {
      on_connect(absl::UnimplementedError("this engine has no connections"));
    });
    return {0, 0};
  }
  bool CancelConnect(ConnectionHandle) override { return false; }
  std::unique_ptr<DNSResolver> GetDNSResolver(const DNSResolver::ResolverOptions&) override { return nullptr; }

 private:
  static Tasks* tasks() {
    // Its thread runs until the process ends.
    static Tasks* const tasks = new Tasks();
    return tasks;
  }
};

}  // namespace

void UseSleepingEngine() {
  grpc_event_engine::experimental::SetEventEngineFactory([] { return std::make_unique<SleepingEngine>(); });
}

}  // namespace parley::transport
