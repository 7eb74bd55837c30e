// A gRPC channel over a connection of its own through the door, from a source address of one's choice.
//
// The handshake and the relay are those of lib/transport. Its dialer listens for the channel that it serves, and so
// holds four descriptors a connection, and leaves the source to the kernel. This holds three: the TCP socket and the
// two ends of a socket pair. A connection that has ended does not come back; the channel's calls fail then.
#ifndef PARLEY_BENCH_FLEET_CONNECTION_H_
#define PARLEY_BENCH_FLEET_CONNECTION_H_

#include <netinet/in.h>

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "grpcpp/channel.h"
#include "lib/base/fd.h"
#include "lib/transport/event_loop.h"
#include "lib/transport/relay.h"
#include "lib/transport/tls_session.h"

namespace parley::bench {

class Connection final : public transport::EventLoop::Watch,
                         public transport::Relay::Owner,
                         public std::enable_shared_from_this<Connection> {
 public:
  // It is called once, in the loop's thread. The errors are those of the dialer that an agent tells apart: UNAVAILABLE,
  // and UNAUTHENTICATED (KEY_REFUSED).
  using Done = std::function<void(absl::StatusOr<std::shared_ptr<grpc::Channel>>)>;

  // Connects from `source` to `server`. Must be called in the loop's thread. `key` must outlive the handshake.
  static void Open(transport::EventLoop* loop, const sockaddr_in& server, in_addr source,
                   const transport::ClientKey* key, Done done);

  void OnEvents(uint32_t events) override;
  void OnHandshakeDone() override;
  void OnHandshakeFailed() override;
  void OnClosed() override;

 private:
  Connection(transport::EventLoop* loop, Done done) : loop_(loop), done_(std::move(done)) {}
  void Start(const sockaddr_in& server, in_addr source);
  void Answer(absl::StatusOr<std::shared_ptr<grpc::Channel>> result);
  void Fail(const char* reason, const std::string& sentence);

  transport::EventLoop* const loop_;
  const transport::ClientKey* key_ = nullptr;
  Done done_;
  Fd fd_;
  std::shared_ptr<transport::Relay> relay_;
  // The connection keeps itself until it has closed.
  std::shared_ptr<Connection> self_;
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_FLEET_CONNECTION_H_
