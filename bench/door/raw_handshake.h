// A handshake without gRPC. The same source links against OpenSSL and against BoringSSL.
#ifndef PARLEY_BENCH_DOOR_RAW_HANDSHAKE_H_
#define PARLEY_BENCH_DOOR_RAW_HANDSHAKE_H_

#include <functional>
#include <string>

namespace parley::bench {

// Each call of the result connects to "127.0.0.1:port" and returns whether the server's first byte came.

// No TLS: an HTTP/2 preface, answered by the server's settings.
std::function<bool()> PlainHandshake(const std::string& address);
// TLS 1.2 ECDHE-PSK-CHACHA20-POLY1305.
std::function<bool()> PskHandshake(const std::string& address, const std::string& identity, const std::string& psk);
// TLS 1.3 with a client certificate; PEM files.
std::function<bool()> CertificateHandshake(const std::string& address, const std::string& folder);

}  // namespace parley::bench

#endif  // PARLEY_BENCH_DOOR_RAW_HANDSHAKE_H_
