// Serves gRPC over TLS-PSK in three lines. channel.h has those that call.
//
//   ASSIGN_OR_RETURN(auto door, GrpcDoor::Create(std::move(listener_options), &keys));
//   builder.RegisterService(&service);
//   RETURN_IF_ERROR(door->Serve(&builder));
//
// In a handler, door->PeerOf(*context) is the authenticated peer, or null if its connection has closed meanwhile. The
// service turns on health checks and reflection by itself, like with any grpc::ServerBuilder.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_LIB_TRANSPORT_GRPC_DOOR_H_
#define PARLEY_LIB_TRANSPORT_GRPC_DOOR_H_

#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/mutex.h"
#include "lib/transport/listener.h"
#include "lib/transport/rest_handler.h"

namespace grpc {
class Server;
class ServerBuilder;
class ServerContextBase;
namespace experimental {
class ExternalConnectionAcceptor;
}  // namespace experimental
}  // namespace grpc

namespace parley::transport {

class GrpcDoor {
 public:
  // Returns the errors of Listener::Create.
  static absl::StatusOr<std::unique_ptr<GrpcDoor>> Create(Listener::Options options, KeySource* keys);
  // Shuts down at once.
  ~GrpcDoor();

  // Sets Parley's limits on the builder (streams a connection, metadata and message size, connection age, handshake
  // timeout, half of the memory that the process may use, no compressed requests), attaches the door, builds and starts
  // the server, then accepts. Must be called once. Returns INTERNAL (SERVER_START_FAILED).
  absl::Status Serve(grpc::ServerBuilder* builder);

  // Returns the peer of a call, also of one that came through ConnectAs.
  std::shared_ptr<const Peer> PeerOf(const grpc::ServerContextBase& context) const;

  // Must be called before Serve, for a listener with accept_rest. `handler` must outlive the door's shutdown.
  void UseRest(RestHandler* handler) { rest_ = handler; }
  // Returns one end of a connection into this server, for a gRPC channel from an fd, whose calls are those of `peer`, a
  // peer of this door. Returns -1 while the server does not serve, or without descriptors.
  int ConnectAs(const Peer& peer);

  Listener& listener() { return *listener_; }

  // Stops accepting and lets calls finish, and their answers leave, until the deadline; then cancels what is left and
  // closes everything.
  void Shutdown(absl::Time deadline);
  void Wait();

 private:
  GrpcDoor(std::unique_ptr<Listener> listener, const FrameGuard::Limits& frames);
  void HandOver(int fd);

  const std::unique_ptr<Listener> listener_;
  const FrameGuard::Limits frames_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;
  std::unique_ptr<grpc::Server> server_;
  RestHandler* rest_ = nullptr;
  std::atomic<uint64_t> rest_connections_{0};
  Mutex mutex_;
  // gRPC leaks an fd that it is given before its start or after its shutdown.
  bool serving_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_GRPC_DOOR_H_
