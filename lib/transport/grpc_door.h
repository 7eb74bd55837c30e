// Serves and calls gRPC over TLS-PSK, in three lines each.
//
//   ASSIGN_OR_RETURN(auto door, GrpcDoor::Create(std::move(listener_options), &keys));
//   builder.RegisterService(&service);
//   RETURN_IF_ERROR(door->Serve(&builder));
//
//   ASSIGN_OR_RETURN(auto channel, Channel::Create(std::move(dialer_options)));
//   auto stub = Greeter::NewStub(channel->grpc());
//   … stub->SayHello(…);  on UNAVAILABLE, channel->Explain(status) has the true reason.
//
// In a handler, door->PeerOf(*context) is the authenticated peer, or null if its connection has closed meanwhile. The
// service turns on health checks and reflection by itself, like with any grpc::ServerBuilder.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_LIB_TRANSPORT_GRPC_DOOR_H_
#define PARLEY_LIB_TRANSPORT_GRPC_DOOR_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/transport/dialer.h"
#include "lib/transport/listener.h"

namespace grpc {
class Channel;
class Server;
class ServerBuilder;
class ServerContextBase;
class Status;
}  // namespace grpc

namespace parley::transport {

// What is behind the door for peers that choose http/1.1. lib/rest has one.
class RestHandler {
 public:
  virtual ~RestHandler() = default;
  // Takes the fd, on which the peer speaks HTTP/1.1 in the clear. Must not block.
  virtual void Take(int fd, std::shared_ptr<const Peer> peer) = 0;
  // Lets no further request begin.
  virtual void Stop() = 0;
  // Returns once all answers have been sent, or at the deadline. Every connection is closed then.
  virtual void Drain(absl::Time deadline) = 0;
};

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
  void UseRest(RestHandler* handler);
  // Returns one end of a connection into this server, for a gRPC channel from an fd, whose calls are those of `peer`, a
  // peer of this door. Returns -1 while the server does not serve, or without descriptors.
  int ConnectAs(const Peer& peer);

  Listener& listener();

  // Stops accepting and lets calls finish, and their answers leave, until the deadline; then cancels what is left and
  // closes everything.
  void Shutdown(absl::Time deadline);
  void Wait();

 private:
  class Impl;
  explicit GrpcDoor(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

class Channel {
 public:
  // Returns the errors of Dialer::Create.
  static absl::StatusOr<std::unique_ptr<Channel>> Create(Dialer::Options options);
  ~Channel();

  std::shared_ptr<grpc::Channel> grpc() const;
  const Dialer& dialer() const;
  // Returns the same error, with the dialer's reason in place of gRPC's "connection closed" if that is the cause, or
  // with a sentence for a call that the server does not know (CALL_UNKNOWN).
  absl::Status Explain(const grpc::Status& status) const;

 private:
  class Impl;
  explicit Channel(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_GRPC_DOOR_H_
