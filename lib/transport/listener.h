// A TCP listener that yields only peers that have proved possession of a key.
//
// A peer has two ways in on one port (docs/protocol/door.md): TLS 1.2 with ECDHE-PSK-CHACHA20-POLY1305 and nothing
// else, and TLS 1.3 with certificates derived from the same keys. There is no plaintext, no fall-back and no
// resumption. An unknown, expired or revoked identity looks like a wrong key: same alert, same time. An authenticated
// peer is handed over as one end of a socket pair whose name is the connection's id; the listener relays between the
// two.
//
// The listener does not speak HTTP or gRPC; grpc_door.h joins it to a gRPC server. It can watch the frames of peers
// that speak HTTP/2, and ends the connections of those that ask too much (frame_guard.h).
//
// Threads: all methods may be called from any thread. The listener has `Options::threads` epoll threads of its own. If
// the process's shared loop serves far ends (event_loop.h), they only shake hands, and that loop relays. Callbacks run
// on whichever of them relays, and must not block.
#ifndef PARLEY_LIB_TRANSPORT_LISTENER_H_
#define PARLEY_LIB_TRANSPORT_LISTENER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/base/clock.h"
#include "lib/base/fd.h"
#include "lib/base/mutex.h"
#include "lib/base/secret.h"
#include "lib/base/timer_queue.h"
#include "lib/base/token_bucket.h"
#include "lib/transport/connection_table.h"
#include "lib/transport/event_loop.h"
#include "lib/transport/frame_guard.h"
#include "lib/transport/peer.h"
#include "lib/transport/places.h"
#include "lib/transport/relay.h"
#include "lib/transport/tls_session.h"

namespace parley::transport {

struct SocketAddress;

// The protocol that the peer chose by ALPN, which decides what is behind the door.
enum class Application { kGrpc, kRest };

// Counts since the start.
struct ListenerStats {
  // Handshakes by outcome: "ok", "refused" (no proof of a key), "timeout", "malformed" (not our TLS), "overloaded" (no
  // place, or no descriptor), "left" (the peer closed before the end).
  std::map<std::string, int64_t> handshakes;
  int64_t connections = 0;
  // The number of places for connections.
  int64_t max_connections = 0;
  int64_t handshakes_under_way = 0;
  int64_t bytes_in = 0;
  int64_t bytes_out = 0;
  // Connections that the guard has ended, by the name of the breach.
  std::map<std::string, int64_t> breaches;
};

class Listener final : private EventLoop::Watch {
 public:
  struct Options {
    // The "host:port" to listen on; port 0 takes a free one.
    std::string address;
    // The chain in PEM and the key in PKCS #8 for TLS 1.3. Without them only TLS-PSK is served.
    std::string certificate_pem;
    Secret private_key_pem;
    // The number of epoll threads. One for each core saturates a machine.
    int threads = 2;
    // A handshake takes two round trips. A client that needs longer is only occupying a place.
    absl::Duration handshake_timeout = absl::Seconds(10);
    // These bound the memory under attack: a handshake costs about 20 KiB, a connection with gRPC's part of it 50 KiB.
    // There are fewer places if the process may not open a descriptor for each handshake and three for each connection.
    // Addresses and keys share them by the rules of places.h, and some are kept for peers that are preferred.
    int max_handshakes = 1024;
    int max_connections = 20000;
    // A peer whose machine is silent for so long has gone.
    absl::Duration silence = absl::Minutes(1);
    // The limits for a peer that speaks HTTP/2; a connection that exceeds them is ended. Without limits the bytes are
    // passed on unread. GrpcDoor sets the defaults if there are none.
    std::optional<FrameGuard::Limits> frame_limits;
    // Whether peers may choose http/1.1.
    bool accept_rest = false;
    // Must outlive the listener.
    Clock* clock = Clock::System();
  };

  // Takes the fd, one end of a stream socket pair whose other end, the relay's, is named "\0parley-{connection_id}".
  // Runs before any byte of the peer's is relayed.
  using Handover = std::function<void(int fd, std::shared_ptr<const Peer> peer, Application application)>;

  // Listens at once, but accepts only from Start on. `keys` must outlive the listener. Returns INVALID_ARGUMENT for a
  // malformed address (ADDRESS_INVALID) or a certificate (CERTIFICATE_INVALID), FAILED_PRECONDITION (ADDRESS_IN_USE)
  // with the address, or PERMISSION_DENIED (ADDRESS_PERMISSION).
  static absl::StatusOr<std::unique_ptr<Listener>> Create(Options options, KeySource* keys);
  ~Listener() override;

  void Start(Handover handover);
  // Returns the bound address as "host:port"; with port 0, the port that the kernel chose.
  const std::string& address() const { return address_; }

  // Returns the peer of the live connection with this id, or null if it has closed.
  std::shared_ptr<const Peer> FindPeer(const ConnectionId& id) const { return table_.Find(id); }

  // Closes the connections under a key at once. Returns how many.
  int CloseKey(absl::string_view key_id) { return table_.CloseKey(key_id); }
  // Asks the source again about the identity of every live connection, and closes those that it no longer accepts.
  void Recheck();
  // Uses another certificate for new connections. Returns INVALID_ARGUMENT (CERTIFICATE_INVALID).
  absl::Status ReplaceCertificate(absl::string_view certificate_pem, const Secret& private_key_pem);

  // Stops accepting; live connections go on.
  void StopAccepting();
  // Stops accepting, and returns once every connection has closed, or at the deadline. This is for connections whose
  // local ends are closed: what was written into them is still on its way to the peer.
  void Drain(absl::Time deadline);
  // Closes everything and joins the threads.
  void Shutdown();

  ListenerStats stats() const;

 private:
  class Connection;
  struct Loop;
  enum Outcome { kOk, kRefused, kTimeout, kMalformed, kOverloaded, kLeft, kOutcomes };

  Listener(Options options, KeySource* keys, std::shared_ptr<SSL_CTX> context, Fd fd, std::string address);

  void OnEvents(uint32_t events) override;
  bool AcceptOne();
  void SurviveShortage();
  template <typename Condition>
  void CloseIf(Condition condition);
  void Admit(Fd fd, const SocketAddress& from);
  void Count(Outcome outcome) { outcomes_[outcome].fetch_add(1, std::memory_order_relaxed); }
  void CountBreach(FrameGuard::Breach breach, const ConnectionId& connection_id);
  void SayFull(ConnectionPlaces::Limit limit, const KeyInfo& key, const std::string& from);
  std::shared_ptr<SSL_CTX> context();

  const Options options_;
  const PeerCheck check_;
  const std::string address_;
  Handover handover_;
  HandshakePlaces handshakes_;
  ConnectionPlaces places_;
  ConnectionTable table_;
  RelayCounters counters_;
  std::atomic<int64_t> outcomes_[kOutcomes] = {};
  std::atomic<int64_t> breaches_[FrameGuard::kBreaches] = {};
  std::atomic<int> open_{0};
  Mutex mutex_;
  // None is open any more.
  CondVar all_closed_;
  std::shared_ptr<SSL_CTX> context_ ABSL_GUARDED_BY(mutex_);
  TokenBucket breach_lines_ ABSL_GUARDED_BY(mutex_);
  TokenBucket full_lines_ ABSL_GUARDED_BY(mutex_);
  // In the first loop's thread, once started.
  Fd listen_fd_;
  Fd reserve_fd_;
  size_t next_loop_ = 0;
  std::once_flag shut_down_;
  std::vector<std::unique_ptr<Loop>> loops_;
  // The last one of them, if the process's loop serves far ends: it relays. Otherwise null.
  Loop* shared_loop_ = nullptr;
  TimerQueue timers_;
};

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_LISTENER_H_
