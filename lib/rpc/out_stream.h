// The sending side of a streaming RPC: messages wait for their turn, and the stream ends once.
//
// gRPC calls a reactor until OnDone, from the loop that polls it or from threads of its own; others may send and close
// from any thread, also after that. A stream is therefore held by a shared_ptr: by itself from Adopt to OnDone, and by
// work that is under way.
//
// Threads: Send and Close may be called from any thread. A worker that calls Send must hold no lock that a handler or a
// callback of the same connection takes, because those may run within Send. OnSent runs there or on gRPC's threads,
// OnClosed on gRPC's. Neither may block.
#ifndef PARLEY_LIB_RPC_OUT_STREAM_H_
#define PARLEY_LIB_RPC_OUT_STREAM_H_

#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "grpcpp/support/server_callback.h"
#include "lib/base/mutex.h"
#include "lib/rpc/call.h"
#include "lib/rpc/worker_pool.h"
#include "lib/transport/grpc_poller.h"
#include "lib/transport/grpc_status.h"

namespace parley::rpc {

// `Base` is grpc::ServerWriteReactor<Response> or grpc::ServerBidiReactor<Request, Response>.
template <typename Base, typename Response>
class OutStream : public Base, public std::enable_shared_from_this<OutStream<Base, Response>> {
 public:
  using Reactor = Base;
  using Message = Response;

  // Must be called before the reactor is given to gRPC. The caller hears at once that its stream stands, also if there
  // is nothing to say yet: a device without a task would otherwise not know whether it is connected. `call` ends with
  // the stream.
  void Adopt(std::shared_ptr<Call> call = nullptr) {
    self_ = this->shared_from_this();
    call_ = std::move(call);
    this->StartSendInitialMetadata();
  }

  // Ends the stream after what was sent. Later calls change nothing.
  void Close(const absl::Status& status) {
    {
      MutexLock lock(&mutex_);
      if (closing_) return;
      closing_ = true;
      status_ = status;
    }
    Pump();
  }

  bool closed() const {
    MutexLock lock(&mutex_);
    return closing_;
  }

 protected:
  // Called when gRPC has taken everything that was sent.
  virtual void OnSent() {}
  // Called last.
  virtual void OnClosed() {}
  // Wipes the secrets in a message that is no longer needed. May be called on any thread.
  virtual void Wipe(Response*) {}

  void Send(Response response) {
    {
      MutexLock lock(&mutex_);
      if (closing_) return Wipe(&response);
      outbox_.push_back(std::move(response));
    }
    Pump();
  }

  // Sends and closes in one step.
  void SendLast(Response response) {
    {
      MutexLock lock(&mutex_);
      if (closing_) return Wipe(&response);
      outbox_.push_back(std::move(response));
      closing_ = true;
    }
    Pump();
  }

  // Returns how many messages wait to be sent.
  size_t waiting() const {
    MutexLock lock(&mutex_);
    return outbox_.size() + (writing_ ? 1 : 0);
  }

  // Runs `start` unless the stream is closing, so that nothing is begun after its end.
  template <typename Start>
  void UnlessClosing(Start start) {
    MutexLock lock(&mutex_);
    if (!closing_) start();
  }

 private:
  // Begins the next write, or the end, unless one of them is under way.
  void Pump() {
    bool write = false;
    bool finish = false;
    absl::Status status;
    {
      MutexLock lock(&mutex_);
      if (writing_ || finished_) return;
      write = !outbox_.empty();
      finish = closing_ && outbox_.size() <= 1;
      writing_ = write;
      finished_ = finish;
      if (finish) status = status_;
      if (write) {
        // Nobody touches it until the write is done.
        current_ = std::move(outbox_.front());
        outbox_.pop_front();
      }
    }
    if (write && finish) {
      this->StartWriteAndFinish(&current_, grpc::WriteOptions(), transport::ToGrpc(status));
    } else if (write) {
      // Other threads may hold locks that a handler takes, and handlers of the connection's other calls may begin here.
      std::optional<transport::CallbacksAtOnce> here;
      if (WorkerPool::OnWorker()) here.emplace();
      this->StartWrite(&current_);
    } else if (finish) {
      this->Finish(transport::ToGrpc(status));
    }
  }

  void OnWriteDone(bool ok) final {
    bool sent = false;
    {
      MutexLock lock(&mutex_);
      writing_ = false;
      Wipe(&current_);
      // The peer is gone: nothing that waits can be sent.
      if (!ok) Clear();
      if (!ok) closing_ = true;
      sent = outbox_.empty() && !closing_;
    }
    Pump();
    if (sent) OnSent();
  }

  void OnCancel() override { Close(absl::CancelledError("the client has gone")); }

  void OnDone() final {
    OnClosed();
    {
      MutexLock lock(&mutex_);
      Wipe(&current_);
      Clear();
      if (call_ != nullptr) call_->End(status_);
      call_ = nullptr;
    }
    // The last reference may be this one.
    const auto self = std::move(self_);
  }

  void Clear() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (Response& response : outbox_) Wipe(&response);
    outbox_.clear();
  }

  mutable Mutex mutex_;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  std::deque<Response> outbox_ ABSL_GUARDED_BY(mutex_);
  Response current_;
  std::shared_ptr<Call> call_;
  std::shared_ptr<OutStream> self_;
};

}  // namespace parley::rpc

#endif  // PARLEY_LIB_RPC_OUT_STREAM_H_
