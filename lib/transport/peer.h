// Says who is at the other end of a connection, and where the door learns it from.
#ifndef PARLEY_LIB_TRANSPORT_PEER_H_
#define PARLEY_LIB_TRANSPORT_PEER_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/base/secret.h"
#include "lib/transport/connection_id.h"

namespace parley::transport {

// What a key stands for, in the words of its KeySource. The transport itself does not look at the role and the subject.
struct KeyInfo {
  // The key's name for revocation and logs, which is not secret: Parley's is the serial, in hex.
  std::string key_id;
  int role = 0;
  std::string subject;
  // When the key ends. Connections under the key close then.
  absl::Time not_after = absl::InfiniteFuture();
  // The key belongs to a person or a service, for whom places are kept when machines have taken all others.
  bool preferred = false;
};

// One authenticated connection.
struct Peer {
  KeyInfo key;
  ConnectionId connection_id;
  // "192.0.2.7:50123".
  std::string remote_address;
  // "TLS 1.2 ECDHE-PSK-CHACHA20-POLY1305", for example.
  std::string protocol;
};

// Finds keys by the identity that a peer claims. Implementations answer from memory, in a time that does not tell good
// identities from bad ones.
//
// Threads: both methods are called on the listener's threads, in the middle of a handshake.
class KeySource {
 public:
  struct Key {
    KeyInfo info;
    // The key for TLS 1.2: 32 bytes.
    Secret psk;
    // The DER SubjectPublicKeyInfo that the peer's certificate must have in TLS 1.3. It is filled only if it is asked
    // for.
    std::string public_key;
  };
  enum class Want { kPsk, kPublicKey };

  virtual ~KeySource() = default;
  // Any error (unknown, expired, revoked) makes the handshake fail exactly like a wrong key.
  virtual absl::StatusOr<Key> Find(absl::string_view identity, Want want) = 0;
  // Whether anybody is admitted. While not, Find knows nobody, and new connections are reset before they say who they
  // are: a peer then knows that its key is not the reason, and tries elsewhere or later.
  virtual bool Admits() const { return true; }
};

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_PEER_H_
