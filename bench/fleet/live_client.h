// A client that holds a stream open over a connection of its own, and comes back as an agent does when it ends.
//
// The pauses between two tries are those of clients/agent: on average 500 ms at first, doubling up to 30 seconds, each
// drawn at random from nothing to twice its length. The channels of all clients share gRPC's threads for callbacks, of
// which there are two, and one event loop for TLS, so that thousands fit into a process.
#ifndef PARLEY_BENCH_FLEET_LIVE_CLIENT_H_
#define PARLEY_BENCH_FLEET_LIVE_CLIENT_H_

#include <netinet/in.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "bench/fleet/tally.h"
#include "clients/agent/faults.h"
#include "grpcpp/channel.h"
#include "lib/base/secret.h"
#include "lib/transport/event_loop.h"
#include "lib/transport/tls_session.h"

namespace parley::bench {

// What the clients of a process have in common.
struct Fleet {
  transport::EventLoop loop;
  // The servers that the key names: each try begins at one of them at random, and goes on at the next at once when it
  // is refused, as a dialer's does.
  std::vector<sockaddr_in> servers;
  // Clients connect from 127.0.0.1 to 127.0.0.{sources}, in turn.
  std::atomic<int> sources = 1;
  // The server has answered on the client's stream.
  Tally open;
  // The client has heard what all wait for: an offer, or an assignment.
  Tally told;
  // The client has declined what was offered, and the server has taken note.
  Tally declined;
  // Counts connections that did not come about, and streams that have ended.
  std::atomic<int> failures = 0;
  // It is called whenever a client has opened a stream, and is set before the first connects.
  std::function<void()> on_open;
};

class LiveClient {
 public:
  LiveClient(Fleet* fleet, int number, std::string identity, const Secret& secret);
  virtual ~LiveClient() = default;
  LiveClient(const LiveClient&) = delete;
  LiveClient& operator=(const LiveClient&) = delete;

  // Connects, and does so again whenever the stream has ended. May be called from any thread.
  void Connect();
  // Lets the next failure be the first, as for an agent whose connection was a good one. May be called from any thread.
  void ForgetFailures();
  // Returns the index of the server that answered last. May be called from any thread.
  size_t server() const { return server_; }
  // Returns the seconds from the first try to the server's first answer on the stream.
  double connect_seconds() const { return connect_seconds_; }

 protected:
  // Opens the stream, which then calls Opened and, at its end, Ended. It is called in the loop's thread.
  virtual void OpenStream(std::shared_ptr<grpc::Channel> channel) = 0;
  // Notes that the server has answered. Only the first time for each stream counts. May be called from any thread.
  void Opened();
  // Tries again after a pause. May be called from any thread.
  void Ended(const absl::Status& status);

  Fleet& fleet() { return *fleet_; }
  int number() const { return number_; }

 private:
  void Try();
  void TryServer(size_t server, size_t others);
  void TryLater(const absl::Status& status);

  Fleet* const fleet_;
  const int number_;
  const transport::ClientKey key_;
  // These two are used in the loop's thread alone.
  agent::Retry retry_;
  double begun_ = 0;
  std::atomic<bool> opened_ = false;
  std::atomic<size_t> server_ = 0;
  std::atomic<double> connect_seconds_ = 0;
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_FLEET_LIVE_CLIENT_H_
