// REST for the services of a gRPC server: what is behind the door for peers that choose http/1.1 (docs/rest.md).
//
//   listener.accept_rest = true;
//   ASSIGN_OR_RETURN(const auto door, transport::GrpcDoor::Create(std::move(listener), keys));
//   ASSIGN_OR_RETURN(const auto rest, rest::Server::Attach(door.get(), {.services = {"parley.task.v1.TaskService"}}));
//   RETURN_IF_ERROR(door->Serve(&builder));
//
// Every request runs through the gRPC handler of its RPC, as the connection's peer: identity, roles, limits and the
// audit log are the same code. Nobody who has not passed the door gets an answer. Bounded are the header, the body, the
// time for each of them, for a call and for a reader that does not read, and the number of connections.
//
// Does not offer RPCs that talk in both directions at once. Serves no browsers: a request with a foreign Origin is
// refused, because a browser would add its user's certificate to whatever a page asks for.
//
// Threads: some of its own; all methods may be called from any thread.
#ifndef PARLEY_LIB_REST_SERVER_H_
#define PARLEY_LIB_REST_SERVER_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/transport/grpc_door.h"

namespace parley::rest {

class Server : public transport::RestHandler {
 public:
  struct Options {
    // Full names of the services. Their RPCs that have a google.api.http option are served.
    std::vector<std::string> services;
    // The document that is served at /openapi.json. Must outlive the server.
    absl::string_view open_api;
    int threads = 2;
    // The default is more than any program sends; a hundred thousand headers do not fit.
    size_t max_header_bytes = 16 * 1024;
    // The default is gRPC's largest message in base 64, and a little.
    size_t max_body_bytes = 6 * 1024 * 1024;
    int max_connections = 1000;
    // How long a connection may stay without a request.
    absl::Duration idle_timeout = absl::Seconds(60);
    // How long a header may take, from its first byte to its last.
    absl::Duration header_timeout = absl::Seconds(10);
    absl::Duration body_timeout = absl::Seconds(60);
    // How long a call may take that has one answer.
    absl::Duration call_timeout = absl::Seconds(60);
    // How long one write may take to a peer that reads slowly.
    absl::Duration write_timeout = absl::Seconds(60);
  };

  // Must be called before door->Serve. The server must outlive the door's shutdown, and `door` the server's last
  // connection. Returns the errors of Routes::Of.
  // The server closes its connections when it goes.
  static absl::StatusOr<std::unique_ptr<Server>> Attach(transport::GrpcDoor* door, Options options);
};

}  // namespace parley::rest

#endif  // PARLEY_LIB_REST_SERVER_H_
