// gRPC over TLS-PSK: three lines to serve, three lines to connect.
//
//   ASSIGN_OR_RETURN(auto door, GrpcDoor::Create(std::move(listener_options), &keys));
//   builder.RegisterService(&service);
//   RETURN_IF_ERROR(door->Serve(&builder));
//
//   ASSIGN_OR_RETURN(auto channel, Channel::Create(std::move(dialer_options)));
//   auto stub = Greeter::NewStub(channel->grpc());
//   … stub->SayHello(…);  on UNAVAILABLE, channel->Explain(status) has the true reason.
//
// In a handler, door->PeerOf(*context) is the authenticated peer; there always is one, unless its connection has
// closed meanwhile. Health checks and reflection are the service's to turn on, as for any grpc::ServerBuilder.
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

class GrpcDoor {
 public:
  static absl::StatusOr<std::unique_ptr<GrpcDoor>> Create(Listener::Options options, KeySource* keys);
  // Shuts down as by Shutdown(now).
  ~GrpcDoor();

  // Sets Parley's limits on the builder (streams a connection, metadata and message size, connection age, handshake
  // timeout), attaches the door, builds and starts the server, then accepts. Once.
  absl::Status Serve(grpc::ServerBuilder* builder);

  std::shared_ptr<const Peer> PeerOf(const grpc::ServerContextBase& context) const;
  Listener& listener();

  // Stops accepting, lets calls finish until the deadline, then cancels them and closes everything.
  void Shutdown(absl::Time deadline);
  void Wait();

 private:
  class Impl;
  explicit GrpcDoor(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

class Channel {
 public:
  static absl::StatusOr<std::unique_ptr<Channel>> Create(Dialer::Options options);
  ~Channel();

  std::shared_ptr<grpc::Channel> grpc() const;
  const Dialer& dialer() const;
  // The same error, with the dialer's reason in place of gRPC's "connection closed" where that is the cause.
  absl::Status Explain(const grpc::Status& status) const;

 private:
  class Impl;
  explicit Channel(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_GRPC_DOOR_H_
