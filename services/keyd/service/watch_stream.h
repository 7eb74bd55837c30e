// A server stream that a store's watch feeds: a reactor that owns itself until gRPC is done with it.
//
// What waits for a slow client is bounded; beyond that the stream ends with RESOURCE_EXHAUSTED and the client starts
// again from its cursor. Threads: Send and End may be called from any thread, also from the watch's callback.
#ifndef PARLEY_SERVICES_KEYD_SERVICE_WATCH_STREAM_H_
#define PARLEY_SERVICES_KEYD_SERVICE_WATCH_STREAM_H_

#include <deque>
#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grpcpp/support/server_callback.h"
#include "lib/base/error.h"
#include "lib/base/mutex.h"
#include "lib/rpc/call.h"
#include "lib/rpc/errors.h"
#include "lib/rpc/live_streams.h"
#include "lib/rpc/worker_pool.h"
#include "lib/store/store.h"

namespace parley::keyd {

template <typename Message>
class WatchStream final : public grpc::ServerWriteReactor<Message>, public rpc::LiveStream {
 public:
  using Pointer = std::shared_ptr<WatchStream>;
  // Sends what there is and begins to watch. On a worker.
  using Begin = std::function<absl::StatusOr<std::unique_ptr<store::Watch>>(const Pointer&)>;
  // Called on each message when it is of no more use.
  using Wipe = void (*)(Message*);
  // For messages without secrets.
  static void WipeNothing(Message*) {}

  // `call` ends with the stream and may be null; `streams` may be null, else must outlive the stream.
  static WatchStream* Start(rpc::WorkerPool* workers, rpc::LiveStreams* streams, std::shared_ptr<rpc::Call> call,
                            Begin begin, Wipe wipe) {
    const Pointer stream(new WatchStream(wipe));
    stream->self_ = stream;
    stream->call_ = std::move(call);
    stream->streams_ = streams;
    if (streams != nullptr) streams->Add(stream);
    workers->Run([stream, begin = std::move(begin)] {
      absl::StatusOr<std::unique_ptr<store::Watch>> watch = begin(stream);
      if (watch.ok()) {
        stream->Keep(*std::move(watch));
      } else {
        stream->End(watch.status());
      }
    });
    return stream.get();
  }

  // A stream that ends at once.
  static WatchStream* Refuse(rpc::WorkerPool* workers, const absl::Status& status) {
    return Start(
        workers, nullptr, nullptr,
        [status](const Pointer&) -> absl::StatusOr<std::unique_ptr<store::Watch>> { return status; }, WipeNothing);
  }

  ~WatchStream() override {
    for (Message& message : queue_) wipe_(&message);
  }

  void Send(Message message) {
    MutexLock lock(&mutex_);
    if (finished_) return wipe_(&message);
    queue_.push_back(std::move(message));
    if (queue_.size() > kMaxQueue) {
      Finish(Error(absl::StatusCode::kResourceExhausted, "STREAM_TOO_SLOW",
                   "the stream was read too slowly; start again from its last cursor"));
    } else if (queue_.size() == 1) {
      this->StartWrite(&queue_.front());
    }
  }

  void End(const absl::Status& status) override {
    MutexLock lock(&mutex_);
    Finish(status);
  }

  void OnWriteDone(bool ok) override {
    MutexLock lock(&mutex_);
    wipe_(&queue_.front());
    queue_.pop_front();
    if (!ok) return Finish(absl::CancelledError("the stream's connection is gone"));
    if (!finished_ && !queue_.empty()) this->StartWrite(&queue_.front());
  }

  void OnCancel() override { End(absl::CancelledError("the stream was cancelled")); }

  void OnDone() override {
    const Pointer self = std::exchange(self_, nullptr);
    if (streams_ != nullptr) streams_->Remove(this);
    // Ending the watch waits for a callback that is running, which may wait for the mutex: so not under it.
    std::unique_ptr<store::Watch> watch;
    MutexLock lock(&mutex_);
    done_ = true;
    watch_.swap(watch);
  }

 private:
  static constexpr size_t kMaxQueue = 1000;

  explicit WatchStream(Wipe wipe) : wipe_(wipe) {}

  void Finish(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (std::exchange(finished_, true)) return;
    if (call_ != nullptr) call_->End(status);
    grpc::ServerWriteReactor<Message>::Finish(rpc::ToGrpc(status));
  }

  // Holds the watch until OnDone. One that comes after that goes at once.
  void Keep(std::unique_ptr<store::Watch> watch) {
    MutexLock lock(&mutex_);
    if (!done_) watch_.swap(watch);
  }

  const Wipe wipe_;
  Pointer self_;
  std::shared_ptr<rpc::Call> call_;
  rpc::LiveStreams* streams_ = nullptr;
  Mutex mutex_;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  // The first is being written.
  std::deque<Message> queue_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<store::Watch> watch_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_SERVICE_WATCH_STREAM_H_
