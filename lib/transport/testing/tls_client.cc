#include "lib/transport/testing/tls_client.h"

#include <openssl/bio.h>
#include <openssl/ec_key.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>

#include <utility>

#include "absl/time/clock.h"
#include "lib/transport/testing/keys.h"

namespace parley::transport {

struct TlsClient::State {
  bssl::UniquePtr<SSL_CTX> context;
  bssl::UniquePtr<SSL> ssl;
  bssl::UniquePtr<EVP_PKEY> key;
};

struct TlsClientBio {
  static TlsClient* Client(const SSL* ssl) { return static_cast<TlsClient*>(SSL_get_app_data(ssl)); }

  static int Read(BIO* bio, char* to, int size) {
    auto* client = static_cast<TlsClient*>(BIO_get_data(bio));
    const ssize_t count = recv(client->tcp_.fd(), to, size, 0);
    if (count > 0) client->server_bytes_.append(to, count);
    return static_cast<int>(count);
  }
  static int Write(BIO* bio, const char* from, int size) {
    auto* client = static_cast<TlsClient*>(BIO_get_data(bio));
    return client->tcp_.Send(absl::string_view(from, size)) ? size : -1;
  }
  static long Control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH; }

  static void OnMessage(int write, int, int type, const void* bytes, size_t size, SSL* ssl, void*) {
    if (!write && type == SSL3_RT_ALERT) Client(ssl)->alerts_.append(static_cast<const char*>(bytes), size);
  }
  static void SawSession(SSL* ssl, SSL_SESSION* session) {
    if (SSL_SESSION_is_resumable(session)) Client(ssl)->resumable_ = true;
  }
  static unsigned Psk(SSL* ssl, const char*, char* identity, unsigned identity_size, uint8_t* psk, unsigned) {
    const TlsClient::Options& options = Client(ssl)->options_;
    strncpy(identity, options.identity.c_str(), identity_size);
    memcpy(psk, options.psk.Expose().data(), options.psk.size());
    return static_cast<unsigned>(options.psk.size());
  }

  // Signs with the key that the test chose, where BoringSSL itself would insist on the certificate's.
  static ssl_private_key_result_t Sign(SSL* ssl, uint8_t* out, size_t* out_size, size_t capacity, uint16_t,
                                       const uint8_t* in, size_t in_size) {
    bssl::ScopedEVP_MD_CTX context;
    *out_size = capacity;
    EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, Client(ssl)->state_->key.get());
    return EVP_DigestSign(context.get(), out, out_size, in, in_size) ? ssl_private_key_success
                                                                     : ssl_private_key_failure;
  }
  static ssl_private_key_result_t Decrypt(SSL*, uint8_t*, size_t*, size_t, const uint8_t*, size_t) {
    return ssl_private_key_failure;
  }
  static ssl_private_key_result_t Complete(SSL*, uint8_t*, size_t*, size_t) { return ssl_private_key_failure; }
};

namespace {

constexpr SSL_PRIVATE_KEY_METHOD kSigner = {&TlsClientBio::Sign, &TlsClientBio::Decrypt, &TlsClientBio::Complete};

const BIO_METHOD* Method() {
  static const BIO_METHOD* const kMethod = [] {
    BIO_METHOD* method = BIO_meth_new(0, nullptr);
    BIO_meth_set_read(method, &TlsClientBio::Read);
    BIO_meth_set_write(method, &TlsClientBio::Write);
    BIO_meth_set_ctrl(method, &TlsClientBio::Control);
    return method;
  }();
  return kMethod;
}

bssl::UniquePtr<CRYPTO_BUFFER> FirstCertificate(const std::string& pem) {
  bssl::UniquePtr<BIO> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  char *name = nullptr, *header = nullptr;
  uint8_t* bytes = nullptr;
  long size = 0;
  if (!PEM_read_bio(bio.get(), &name, &header, &bytes, &size)) return nullptr;
  bssl::UniquePtr<CRYPTO_BUFFER> der(CRYPTO_BUFFER_new(bytes, size, nullptr));
  OPENSSL_free(name);
  OPENSSL_free(header);
  OPENSSL_free(bytes);
  return der;
}

}  // namespace

TlsClient::Options TlsClient::Psk(const std::string& identity, const std::string& key) {
  Options options;
  options.identity = identity;
  options.psk = PskOf(key);
  return options;
}

TlsClient::Options TlsClient::Certificate(const std::string& identity, const crypto::EcKey& key) {
  Options options;
  options.version = 0x0304;
  options.certificate_pem = *crypto::MakeClientCertificate(key, identity, absl::Now(), absl::Now() + absl::Hours(24));
  options.signing_key = &key;
  return options;
}

TlsClient::TlsClient(const std::string& address, Options options)
    : options_(std::move(options)), tcp_(address), state_(std::make_unique<State>()) {
  state_->context.reset(SSL_CTX_new(TLS_with_buffers_method()));
  SSL_CTX* context = state_->context.get();
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_max_proto_version(context, options_.version);
  SSL_CTX_set_cipher_list(context, options_.ciphers.c_str());
  if (!options_.identity.empty()) SSL_CTX_set_psk_client_callback(context, &TlsClientBio::Psk);
  SSL_CTX_set_custom_verify(context, SSL_VERIFY_PEER, [](SSL*, uint8_t*) { return ssl_verify_ok; });
  SSL_CTX_set_msg_callback(context, &TlsClientBio::OnMessage);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context, [](SSL* ssl, SSL_SESSION* session) {
    TlsClientBio::SawSession(ssl, session);
    return 0;
  });
  if (options_.signing_key != nullptr) {
    const Secret pem = options_.signing_key->ToPem();
    bssl::UniquePtr<BIO> bio(BIO_new_mem_buf(pem.Expose().data(), static_cast<int>(pem.size())));
    state_->key.reset(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
    const auto der = FirstCertificate(options_.certificate_pem);
    CRYPTO_BUFFER* chain[] = {der.get()};
    SSL_CTX_set_chain_and_key(context, chain, 1, nullptr, &kSigner);
  }
  state_->ssl.reset(SSL_new(context));
  SSL* ssl = state_->ssl.get();
  SSL_set_app_data(ssl, this);
  std::string names;
  for (const std::string& name : options_.alpn) names += static_cast<char>(name.size()) + name;
  SSL_set_alpn_protos(ssl, reinterpret_cast<const uint8_t*>(names.data()), static_cast<unsigned>(names.size()));
  BIO* bio = BIO_new(Method());
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl, bio, bio);
  SSL_set_connect_state(ssl);
}

TlsClient::~TlsClient() = default;

bool TlsClient::Handshake() {
  ERR_clear_error();
  return SSL_do_handshake(state_->ssl.get()) == 1;
}

std::string TlsClient::Read() {
  ERR_clear_error();
  std::string bytes(64 * 1024, '\0');
  const int count = SSL_read(state_->ssl.get(), bytes.data(), static_cast<int>(bytes.size()));
  bytes.resize(count > 0 ? count : 0);
  return bytes;
}

bool TlsClient::Write(absl::string_view bytes) {
  ERR_clear_error();
  return SSL_write(state_->ssl.get(), bytes.data(), static_cast<int>(bytes.size())) == static_cast<int>(bytes.size());
}

std::string TlsClient::server_certificate() const {
  const CRYPTO_BUFFER* leaf = sk_CRYPTO_BUFFER_value(SSL_get0_peer_certificates(state_->ssl.get()), 0);
  return std::string(reinterpret_cast<const char*>(CRYPTO_BUFFER_data(leaf)), CRYPTO_BUFFER_len(leaf));
}

void TlsClient::SetTimeout(absl::Duration timeout) {
  const timeval limit = absl::ToTimeval(timeout);
  setsockopt(tcp_.fd(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

void TlsClient::Close() { SSL_shutdown(state_->ssl.get()); }

std::string TlsClient::alpn() const {
  const uint8_t* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(state_->ssl.get(), &name, &size);
  return std::string(reinterpret_cast<const char*>(name), size);
}

}  // namespace parley::transport
