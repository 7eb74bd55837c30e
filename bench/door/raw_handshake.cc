#include "bench/door/raw_handshake.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>

namespace parley::bench {
namespace {

// What every HTTP/2 client sends first: the preface and empty settings. gRPC's server says nothing before.
constexpr char kPreface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
constexpr int kPrefaceBytes = 24 + 9;

struct Key {
  std::string identity;
  std::string psk;
};

unsigned PskOf(SSL* ssl, const char*, char* identity, unsigned capacity, unsigned char* psk, unsigned) {
  const auto* key = static_cast<const Key*>(SSL_get_ex_data(ssl, 0));
  strncpy(identity, key->identity.c_str(), capacity);
  memcpy(psk, key->psk.data(), key->psk.size());
  return static_cast<unsigned>(key->psk.size());
}

class Socket {
 public:
  explicit Socket(const std::string& address) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
    const int yes = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    connected_ = connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0;
  }
  // With a reset: a thousand closes a second would use up the ports.
  ~Socket() {
    const linger now{1, 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(fd_);
  }
  int fd() const { return fd_; }
  bool connected() const { return connected_; }

 private:
  const int fd_;
  bool connected_ = false;
};

bool Handshake(SSL_CTX* context, const std::string& address, const Key* key) {
  const Socket socket(address);
  if (!socket.connected()) return false;
  SSL* ssl = SSL_new(context);
  SSL_set_fd(ssl, socket.fd());
  SSL_set_ex_data(ssl, 0, const_cast<Key*>(key));
  char byte;
  // With TLS 1.3 the client is done before the server has looked at its certificate: the first byte tells.
  const bool done =
      SSL_connect(ssl) == 1 && SSL_write(ssl, kPreface, kPrefaceBytes) == kPrefaceBytes && SSL_read(ssl, &byte, 1) == 1;
  SSL_free(ssl);
  return done;
}

void OfferHttp2(SSL_CTX* context) {
  SSL_CTX_set_alpn_protos(context, reinterpret_cast<const unsigned char*>("\2h2"), 3);
}

}  // namespace

std::function<bool()> PlainHandshake(const std::string& address) {
  return [address] {
    const Socket socket(address);
    char byte;
    return socket.connected() && send(socket.fd(), kPreface, kPrefaceBytes, MSG_NOSIGNAL) == kPrefaceBytes &&
           recv(socket.fd(), &byte, 1, 0) == 1;
  };
}

std::function<bool()> PskHandshake(const std::string& address, const std::string& identity, const std::string& psk) {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_method()), &SSL_CTX_free);
  SSL_CTX_set_max_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_cipher_list(context.get(), "ECDHE-PSK-CHACHA20-POLY1305");
  SSL_CTX_set_psk_client_callback(context.get(), &PskOf);
  OfferHttp2(context.get());
  auto key = std::make_shared<Key>(Key{identity, psk});
  return [=] { return Handshake(context.get(), address, key.get()); };
}

std::function<bool()> CertificateHandshake(const std::string& address, const std::string& folder) {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_method()), &SSL_CTX_free);
  SSL_CTX_load_verify_locations(context.get(), (folder + "/ca.pem").c_str(), nullptr);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  SSL_CTX_use_certificate_file(context.get(), (folder + "/client.pem").c_str(), SSL_FILETYPE_PEM);
  SSL_CTX_use_PrivateKey_file(context.get(), (folder + "/client.key").c_str(), SSL_FILETYPE_PEM);
  OfferHttp2(context.get());
  return [=] { return Handshake(context.get(), address, nullptr); };
}

}  // namespace parley::bench
