// Connects by TLS-PSK, or by mutual TLS with certificates to servers that are not Parley's, on behalf of a gRPC channel
// or for the caller's own use, and goes on at another replica.
//
// A gRPC channel connects to target(), an abstract socket that only this process may use. For each connection the
// dialer opens TCP and TLS, and relays. So gRPC keeps its reconnects and back-off,
// and never sees the key. When dialling fails, gRPC sees only a closed socket: last_error() has the true reason.
//
// A name may have several addresses, and there may be several names. They are tried in random order; those that failed
// within the last minute come last, whichever dialer of the process found them so (address_memory.h). An address that
// refuses or closes is followed by the next at once, and one that says nothing by another try beside it (dial.h). So a
// client whose server ends is at another one within a second of its next dial. A connection ends by itself when the
// server's machine is silent for Options::silence: the kernel probes it, and nothing in this process wakes for that.
//
// Threads: all methods may be called from any thread. All dialers of the process share one epoll thread.
#ifndef PARLEY_LIB_TRANSPORT_DIALER_H_
#define PARLEY_LIB_TRANSPORT_DIALER_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/clock.h"
#include "lib/base/secret.h"

namespace parley::transport {

class Dialer {
 public:
  struct Options {
    // The server's "host:port", or several with commas between (address.h, ParseServers). A host's name is sent in the
    // clear, for proxies that pass TLS on by names; an address is not.
    std::string address;
    std::string identity;
    // 32 bytes.
    Secret psk;
    // For a server that is not Parley's, in place of identity and psk: PEM of the CAs that it is trusted by, of this
    // client's certificate and of its private key.
    struct Certificates {
      std::string ca_pem;
      std::string certificate_pem;
      Secret key_pem;
      // What the server's certificate must be for, if not the host in `address`.
      std::string server_name;
    };
    std::optional<Certificates> certificates;
    // When the key ends. A dial after that fails without a packet.
    absl::Time not_after = absl::InfiniteFuture();
    // The limit for the names, TCP and TLS, over all addresses.
    absl::Duration timeout = absl::Seconds(10);
    // How long a silent address is waited for before another is tried beside it: this, or up to half as much again by
    // chance; less where there are so many addresses that some would not get their turn.
    absl::Duration patience = absl::Seconds(2);
    // How long the server's machine may be silent before a connection ends; at least 5 seconds.
    absl::Duration silence = absl::Seconds(10);
    // Must outlive the dialer.
    Clock* clock = Clock::System();
  };

  using Certificates = Options::Certificates;

  // Returns INVALID_ARGUMENT for a malformed address, identity or psk, and (CERTIFICATE_INVALID) for certificates that
  // can not be used.
  static absl::StatusOr<std::unique_ptr<Dialer>> Create(Options options);
  // Closes its connections.
  ~Dialer();

  // Returns "unix-abstract:parley-dial-{128-bit random}".
  const std::string& target() const;

  // Returns why the newest dial failed, or OK; if several addresses failed, the error that says most. UNAVAILABLE:
  // CONNECTION_REFUSED, CONNECTION_TIMEOUT, CONNECTION_CLOSED (before the handshake's end), SERVER_FULL, UNREACHABLE.
  // NOT_FOUND: NAME_NOT_FOUND. UNAUTHENTICATED: KEY_REFUSED (wrong, unknown, revoked or expired: the server does not
  // say which), KEY_EXPIRED (by this machine's clock), SERVER_NOT_GENUINE (it does not know the key, or its certificate
  // is of another CA or name). FAILED_PRECONDITION: NOT_A_PARLEY_SERVER; with certificates NOT_TLS, and
  // CLIENTS_NOT_CHECKED for a server that does not ask for the client's.
  absl::Status last_error() const;

  // Returns "TLS 1.2 ECDHE-PSK-CHACHA20-POLY1305", or an empty text before the first connection.
  std::string protocol() const;

 private:
  class Impl;
  explicit Dialer(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_DIALER_H_
