// A TLS client that can be told to misbehave, and that keeps what the server answered.
#ifndef PARLEY_LIB_TRANSPORT_TESTING_TLS_CLIENT_H_
#define PARLEY_LIB_TRANSPORT_TESTING_TLS_CLIENT_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/base/secret.h"
#include "lib/crypto/certificate.h"
#include "lib/transport/testing/tcp.h"

namespace parley::transport {

class TlsClient {
 public:
  struct Options {
    // 0x0303 or 0x0304.
    int version = 0x0303;
    std::string ciphers = "ECDHE-PSK-CHACHA20-POLY1305";
    std::string identity;
    Secret psk;
    // For TLS 1.3. Signs with `signing_key`, whatever the certificate says.
    std::string certificate_pem;
    const crypto::EcKey* signing_key = nullptr;
    std::vector<std::string> alpn;
  };

  // By TLS-PSK, honestly, when `key` is the identity.
  static Options Psk(const std::string& identity, const std::string& key);
  // By certificate of `identity` made with the key `key`.
  static Options Certificate(const std::string& identity, const crypto::EcKey& key);

  TlsClient(const std::string& address, Options options);
  ~TlsClient();

  // True when this side is done; with TLS 1.3 the server may still refuse.
  bool Handshake();
  // Decrypted; empty at the end, after an alert, or when the connection broke.
  std::string Read();
  bool Write(absl::string_view bytes);
  // Sends TLS's end; reading goes on.
  void Close();

  // Alerts of the server as two bytes each, decrypted.
  const std::string& alerts() const { return alerts_; }
  // All bytes of the server's, as they were on the wire, and the sizes of its records.
  const std::string& server_bytes() const { return server_bytes_; }
  std::string alpn() const;
  // DER of the server's certificate.
  std::string server_certificate() const;
  // Whether the server has given anything to resume the session with.
  bool resumable() const { return resumable_; }
  void SetTimeout(absl::Duration timeout);

 private:
  struct State;
  friend struct TlsClientBio;
  const Options options_;
  TcpClient tcp_;
  std::unique_ptr<State> state_;
  std::string alerts_;
  std::string server_bytes_;
  bool resumable_ = false;
};

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_TESTING_TLS_CLIENT_H_
