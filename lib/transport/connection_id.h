// Names one connection of a listener. It is drawn by chance, so no two connections of any process share one.
//
// Threads: a value.
#ifndef PARLEY_LIB_TRANSPORT_CONNECTION_ID_H_
#define PARLEY_LIB_TRANSPORT_CONNECTION_ID_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace parley::transport {

class ConnectionId {
 public:
  // Names no connection.
  ConnectionId() = default;
  static ConnectionId Random();

  // Reads the id in the name of a socket that SocketName made, as gRPC's ServerContext::peer() shows it:
  // "unix-abstract:parley-{id}" with "%00" tolerated before the name. Returns no value for any other name.
  static std::optional<ConnectionId> FromGrpcPeer(absl::string_view peer);

  // Returns the name of an abstract socket of this connection: "parley-{id}{suffix}". A suffix begins with "-" and
  // tells several sockets of one connection apart.
  std::string SocketName(absl::string_view suffix = "") const;

  // Returns 32 hex digits.
  std::string ToString() const;

  friend bool operator==(const ConnectionId& a, const ConnectionId& b) { return a.bytes_ == b.bytes_; }
  template <typename H>
  friend H AbslHashValue(H state, const ConnectionId& id) {
    return H::combine(std::move(state), id.bytes_);
  }

 private:
  std::array<uint8_t, 16> bytes_ = {};
};

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_CONNECTION_ID_H_
