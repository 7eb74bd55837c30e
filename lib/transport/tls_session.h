// Parley's TLS over memory: bytes in, bytes out, no socket.
//
// The server takes TLS 1.2 with ECDHE-PSK-CHACHA20-POLY1305 alone, or TLS 1.3 with a client certificate whose public
// key is the one derived for the identity that it names. The client speaks the former, or mutual TLS 1.2 and 1.3 with
// X.509 certificates to servers that are not Parley's. There are no tickets, no cache, no renegotiation and no early
// data. An identity that the KeySource refuses goes on with a random key, or ends in the
// alert of a bad signature, which is what a wrong key looks like (docs/protocol/door.md).
//
// Threads: a session belongs to one thread at a time; contexts may be shared.
#ifndef PARLEY_LIB_TRANSPORT_TLS_SESSION_H_
#define PARLEY_LIB_TRANSPORT_TLS_SESSION_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/base/clock.h"
#include "lib/base/secret.h"
#include "lib/transport/peer.h"

// These are BoringSSL's, so that this header needs none of its headers.
typedef struct ssl_ctx_st SSL_CTX;
typedef struct ssl_st SSL;

namespace parley::transport {

// How a server checks its peers. `keys` and `clock` must outlive every session.
struct PeerCheck {
  KeySource* keys;
  Clock* clock;
  bool accept_rest = false;
};

struct ClientKey {
  std::string identity;
  Secret psk;
  // The name with which the server is greeted, in the clear; empty for none.
  std::string server_name = {};
};

// What a client shows to a server that is not Parley's, and whom it trusts.
struct CertificateKey {
  // PEM: the CAs of which one must have signed the server's certificate; the client's certificate, with the chain to
  // its CA; the client's private key, without a password.
  std::string ca_pem;
  std::string certificate_pem;
  Secret key_pem;
};

// If both are empty, the context speaks TLS 1.2 alone. Returns INVALID_ARGUMENT (CERTIFICATE_INVALID) for a chain and
// key that do not belong together.
absl::StatusOr<std::shared_ptr<SSL_CTX>> MakeServerContext(absl::string_view certificate_pem, const Secret& key_pem);
// Returns the one context for all clients of the process.
SSL_CTX* ClientContext();
// Returns a context for clients of one server, whose certificate must be for `name`, a DNS name or an IP address.
// Returns INVALID_ARGUMENT (CERTIFICATE_INVALID) for what is not PEM or does not belong together.
absl::StatusOr<std::shared_ptr<SSL_CTX>> MakeCertificateContext(const CertificateKey& key, const std::string& name);
// Returns why the peer's certificate was not accepted, or an empty text if it was.
std::string VerifyErrorOf(const SSL* ssl);

class TlsSession {
 public:
  enum class Step {
    kDone,
    // Needs bytes from the other side.
    kMore,
    // The other side ended its direction properly.
    kClosed,
    kFailed,
  };
  // Whose fault a failed handshake is.
  enum class Failure {
    kNone,
    // The peer did not prove a key.
    kRefused,
    // The other side sent the alert of a key or certificate that it does not take. Only clients see this.
    kKeyRefused,
    // The server did not ask for the client's certificate, so it serves anybody.
    kNotAsked,
    // The bytes are not TLS, not our TLS, or tampered with.
    kMalformed,
  };

  static std::unique_ptr<TlsSession> Accept(SSL_CTX* context, const PeerCheck* check);
  // `key` must outlive the handshake.
  static std::unique_ptr<TlsSession> Connect(SSL_CTX* context, const ClientKey* key);
  ~TlsSession();

  // Each of these consumes all of `input` and appends to `output` what must be sent, alerts of a failure included.
  Step Handshake(absl::string_view input, std::string* output);
  // Writes the decrypted bytes to `plain`, those that came before the handshake's end included. `capacity` must exceed
  // the input's size by 32 KiB.
  Step Decrypt(absl::string_view input, char* plain, size_t capacity, size_t* plain_size, std::string* output);
  bool Encrypt(absl::string_view plain, std::string* output);
  // Says that this side sends no more.
  void Close(std::string* output);

  Failure failure() const { return failure_; }
  // Returns BoringSSL's name of the error, for logs.
  const std::string& failure_text() const { return failure_text_; }

  // These are those of a server's session whose handshake is done.
  const KeyInfo& key() const { return claim_->info; }
  const std::string& identity() const { return claim_->identity; }
  KeySource::Want want() const { return claim_->want; }
  // Returns the ALPN protocol, or an empty text if there was none.
  std::string alpn() const;
  // Returns "TLS 1.2 ECDHE-PSK-CHACHA20-POLY1305", for example.
  std::string protocol() const;
  // Frees what only a handshake needs. The claim's accessors must not be called afterwards.
  void ForgetHandshake() { claim_.reset(); }

 private:
  friend struct TlsCallbacks;

  // Who a server's peer says that it is, and whether the source knew.
  struct Claim {
    KeyInfo info;
    std::string identity;
    KeySource::Want want = KeySource::Want::kPsk;
    bool known = false;
  };

  explicit TlsSession(SSL_CTX* context);
  Step StepOf(int result);

  SSL* const ssl_;
  const PeerCheck* check_ = nullptr;
  const ClientKey* key_ = nullptr;
  std::unique_ptr<Claim> claim_;
  // This client has a certificate, for which the server has not asked.
  bool unasked_ = false;
  // Bytes that came with the end of the handshake and belong to what follows.
  std::string early_;
  Failure failure_ = Failure::kNone;
  std::string failure_text_;
};

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_TLS_SESSION_H_
