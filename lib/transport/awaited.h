// Makes calls that a thread waits for without lending itself to gRPC.
//
// A thread that blocks in gRPC's synchronous interface polls for the whole process meanwhile: it receives what comes
// for the server's connections, and hands it on to the threads that serve them. A service's own calls therefore go
// through the callback interface, and wait on a lock of ours.
//
// Threads: each object belongs to the thread that waits.
#ifndef PARLEY_LIB_TRANSPORT_AWAITED_H_
#define PARLEY_LIB_TRANSPORT_AWAITED_H_

#include <functional>
#include <optional>
#include <utility>

#include "grpcpp/support/client_callback.h"
#include "lib/base/mutex.h"

namespace parley::transport {

// A value that another thread sets, once for each wait.
template <typename Value>
class Awaited {
 public:
  void Set(Value value) {
    // Notified under the lock: the waiting thread may destroy this as soon as it has the lock.
    MutexLock lock(&mutex_);
    value_ = std::move(value);
    set_.NotifyOne();
  }
  Value Wait() {
    MutexLock lock(&mutex_);
    while (!value_.has_value()) set_.Wait(&mutex_);
    return *std::exchange(value_, std::nullopt);
  }

 private:
  Mutex mutex_;
  CondVar set_;
  std::optional<Value> value_ ABSL_GUARDED_BY(mutex_);
};

// Makes a unary call. `start` is given what to call at its end.
inline grpc::Status AwaitCall(const std::function<void(std::function<void(grpc::Status)>)>& start) {
  Awaited<grpc::Status> result;
  start([&result](grpc::Status status) { result.Set(std::move(status)); });
  return result.Wait();
}

// Reads a server's stream. Finish must be called before this is destroyed.
template <typename Response>
class AwaitedReader final : private grpc::ClientReadReactor<Response> {
 public:
  // `start` is given the reactor for the stub's method.
  explicit AwaitedReader(const std::function<void(grpc::ClientReadReactor<Response>*)>& start) {
    start(this);
    // Reads are begun from outside the reactions, so the call must not end between two of them.
    this->AddHold();
    this->StartCall();
  }

  // Returns false at the end of the stream.
  bool Read(Response* response) {
    this->StartRead(response);
    return read_.Wait();
  }
  // Must be called after Read has returned false, or after the call was cancelled.
  grpc::Status Finish() {
    this->RemoveHold();
    return done_.Wait();
  }

 private:
  void OnReadDone(bool ok) override { read_.Set(ok); }
  void OnDone(const grpc::Status& status) override { done_.Set(status); }

  Awaited<bool> read_;
  Awaited<grpc::Status> done_;
};

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_AWAITED_H_
