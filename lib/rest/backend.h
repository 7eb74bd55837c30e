// Calls the gRPC server in this process on behalf of one REST peer.
//
// The calls go over a socket pair into the very server that gRPC peers talk to, so that the same handlers answer, and
// rpc::Gate finds the same peer.
//
// Threads: Backend belongs to one thread at a time. BackendCall's methods may be called from any thread; its events
// come on any thread, one after another, and must not block.
#ifndef PARLEY_LIB_REST_BACKEND_H_
#define PARLEY_LIB_REST_BACKEND_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/support/byte_buffer.h"
#include "lib/base/mutex.h"

namespace parley::rest {

// One RPC of any kind.
class BackendCall final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  struct Events {
    // The handler has taken the call.
    std::function<void()> started;
    // An answer has come. The next one comes only after Next.
    std::function<void(std::string)> message;
    // The call has ended. It is handed over with this event, to be released on a thread that is not gRPC's: it may hold
    // the last reference to its channel, and gRPC would wait there for that very thread to end
    // (https://github.com/grpc/grpc/issues/37858).
    std::function<void(grpc::Status, std::shared_ptr<BackendCall>)> ended;
  };
  using Metadata = std::vector<std::pair<std::string, std::string>>;

  // Sends the requests and asks for the first answer.
  static std::shared_ptr<BackendCall> Start(grpc::GenericStub* stub, const std::string& rpc_path,
                                            std::vector<std::string> requests, const Metadata& metadata,
                                            absl::Time deadline, Events events);

  // Asks for the next answer. Must be called once for each.
  void Next();
  // Ends the call. Only `ended` comes after this, and an event that is under way.
  void Cancel();

 private:
  BackendCall(std::vector<std::string> requests, Events events);
  void WriteNext();
  void OnReadInitialMetadataDone(bool ok) override;
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

  grpc::ClientContext context_;
  Events events_;
  std::vector<grpc::ByteBuffer> requests_;
  size_t written_ = 0;
  grpc::ByteBuffer answer_;
  Mutex mutex_;
  // A read is under way. Without one gRPC may end the call at any time, so there is always a read or a hold.
  bool reading_ ABSL_GUARDED_BY(mutex_) = true;
  bool canceled_ ABSL_GUARDED_BY(mutex_) = false;
  // The call holds itself until OnDone.
  std::shared_ptr<BackendCall> self_;
};

class Backend {
 public:
  // Returns one end of a connection into the server, or -1 if there is none to be had.
  using Connect = std::function<int()>;
  explicit Backend(Connect connect) : connect_(std::move(connect)) {}

  // Connects at the first call, and anew before the server would close the connection for its age. Must be called while
  // no call is under way. Returns null if it cannot connect.
  grpc::GenericStub* stub();
  // Says that the connection has broken, so that the next call makes another.
  void Forget() { stub_ = nullptr; }

 private:
  const Connect connect_;
  absl::Time connected_;
  std::unique_ptr<grpc::GenericStub> stub_;
};

}  // namespace parley::rest

#endif  // PARLEY_LIB_REST_BACKEND_H_
