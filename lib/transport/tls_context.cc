// The rules of the handshake: contexts and BoringSSL's callbacks.
#include <openssl/bytestring.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <string.h>

#include <vector>

#include "lib/base/error.h"
#include "lib/crypto/certificate.h"
#include "lib/transport/tls_session.h"

namespace parley::transport {

constexpr char kPskCipher[] = "ECDHE-PSK-CHACHA20-POLY1305";
constexpr uint16_t kPskCipherId = 0xccac;
constexpr size_t kPskBytes = 32;

struct TlsCallbacks {
  static TlsSession* Session(const SSL* ssl) { return static_cast<TlsSession*>(SSL_get_app_data(ssl)); }

  // Asks the source, and keeps the answer for when the handshake is done. The claim of an unknown identity is kept
  // too, so that both take the same way.
  static absl::StatusOr<KeySource::Key> Find(TlsSession* session, absl::string_view identity, KeySource::Want want) {
    absl::StatusOr<KeySource::Key> key = session->check_->keys->Find(identity, want);
    session->claim_ = std::make_unique<TlsSession::Claim>();
    session->claim_->identity = std::string(identity);
    session->claim_->want = want;
    if (!key.ok()) return key;
    if (key->info.not_after <= session->check_->clock->Now()) return absl::UnauthenticatedError("expired");
    session->claim_->info = key->info;
    session->claim_->known = true;
    return key;
  }

  static unsigned PskOfClient(SSL* ssl, const char* identity, uint8_t* psk, unsigned capacity) {
    if (capacity < kPskBytes) return 0;
    // For an identity without a key: the client's Finished will not decrypt, exactly as under a wrong key.
    RAND_bytes(psk, kPskBytes);
    const auto key = Find(Session(ssl), identity, KeySource::Want::kPsk);
    if (key.ok() && key->psk.size() == kPskBytes) memcpy(psk, key->psk.Expose().data(), kPskBytes);
    return kPskBytes;
  }

  // Every refusal is the alert of a CertificateVerify whose signature is bad.
  static ssl_verify_result_t VerifyClient(SSL* ssl, uint8_t* alert) {
    *alert = SSL_AD_DECRYPT_ERROR;
    const STACK_OF(CRYPTO_BUFFER)* chain = SSL_get0_peer_certificates(ssl);
    if (chain == nullptr || sk_CRYPTO_BUFFER_num(chain) == 0) return ssl_verify_invalid;
    const CRYPTO_BUFFER* leaf = sk_CRYPTO_BUFFER_value(chain, 0);
    const absl::string_view der(reinterpret_cast<const char*>(CRYPTO_BUFFER_data(leaf)), CRYPTO_BUFFER_len(leaf));
    const auto identity = crypto::IdentityOfClientCertificate(der);
    const auto shown = crypto::PublicKeyOfCertificate(der);
    if (!identity.ok() || !shown.ok()) return ssl_verify_invalid;
    const auto key = Find(Session(ssl), *identity, KeySource::Want::kPublicKey);
    const bool same = key.ok() && !key->public_key.empty() && key->public_key.size() == shown->size() &&
                      CRYPTO_memcmp(key->public_key.data(), shown->data(), shown->size()) == 0;
    return same ? ssl_verify_ok : ssl_verify_invalid;
  }

  // A client that offers our suite wants TLS-PSK, whatever else its defaults offer: TLS 1.3 would ask it for a
  // certificate that it has not.
  static ssl_select_cert_result_t ChooseVersion(const SSL_CLIENT_HELLO* hello) {
    CBS suites;
    CBS_init(&suites, hello->cipher_suites, hello->cipher_suites_len);
    uint16_t suite;
    while (CBS_get_u16(&suites, &suite)) {
      if (suite == kPskCipherId) SSL_set_max_proto_version(hello->ssl, TLS1_2_VERSION);
    }
    return ssl_select_cert_success;
  }

  // Clients that offer both are HTTP clients: gRPC ones offer h2 alone, as they have no use for anything else.
  static int ChooseApplication(SSL* ssl, const uint8_t** chosen, uint8_t* chosen_size, const uint8_t* offered,
                               unsigned offered_size, void*) {
    static constexpr uint8_t kHttp2[] = {'h', '2'};
    static constexpr uint8_t kHttp1[] = {'h', 't', 't', 'p', '/', '1', '.', '1'};
    bool http1 = false, http2 = false;
    CBS names, name;
    CBS_init(&names, offered, offered_size);
    while (CBS_get_u8_length_prefixed(&names, &name)) {
      http2 |= CBS_mem_equal(&name, kHttp2, sizeof(kHttp2)) != 0;
      http1 |= CBS_mem_equal(&name, kHttp1, sizeof(kHttp1)) != 0;
    }
    http1 = http1 && Session(ssl)->check_->accept_rest;
    if (!http1 && !http2) return SSL_TLSEXT_ERR_ALERT_FATAL;
    *chosen = http1 ? kHttp1 : kHttp2;
    *chosen_size = http1 ? sizeof(kHttp1) : sizeof(kHttp2);
    return SSL_TLSEXT_ERR_OK;
  }

  static unsigned PskOfServer(SSL* ssl, const char*, char* identity, unsigned identity_capacity, uint8_t* psk,
                              unsigned psk_capacity) {
    const ClientKey* key = Session(ssl)->key_;
    if (key->identity.size() + 1 > identity_capacity || key->psk.size() > psk_capacity) return 0;
    memcpy(identity, key->identity.c_str(), key->identity.size() + 1);
    memcpy(psk, key->psk.Expose().data(), key->psk.size());
    return static_cast<unsigned>(key->psk.size());
  }
};

namespace {

bssl::UniquePtr<SSL_CTX> MakeContext() {
  bssl::UniquePtr<SSL_CTX> context(SSL_CTX_new(TLS_with_buffers_method()));
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_max_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_strict_cipher_list(context.get(), kPskCipher);
  static constexpr int kCurves[] = {NID_X25519, NID_X9_62_prime256v1};
  SSL_CTX_set1_curves(context.get(), kCurves, 2);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_TICKET);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_max_cert_list(context.get(), 16 * 1024);
  return context;
}

absl::Status CertificateInvalid(absl::string_view what) {
  ERR_clear_error();
  return InvalidArgument("CERTIFICATE_INVALID", what);
}

absl::Status UseCertificate(SSL_CTX* context, absl::string_view certificate_pem, const Secret& key_pem) {
  bssl::UniquePtr<BIO> bio(BIO_new_mem_buf(certificate_pem.data(), static_cast<int>(certificate_pem.size())));
  std::vector<bssl::UniquePtr<CRYPTO_BUFFER>> owned;
  std::vector<CRYPTO_BUFFER*> chain;
  char* name = nullptr;
  char* header = nullptr;
  uint8_t* bytes = nullptr;
  long size = 0;
  while (PEM_read_bio(bio.get(), &name, &header, &bytes, &size)) {
    if (strcmp(name, PEM_STRING_X509) == 0) {
      owned.emplace_back(CRYPTO_BUFFER_new(bytes, size, nullptr));
      chain.push_back(owned.back().get());
    }
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_free(bytes);
  }
  ERR_clear_error();
  if (chain.empty()) return CertificateInvalid("the server's certificate is not PEM; give the chain that keyd issued");
  const absl::string_view key_text = key_pem.Expose();
  bio.reset(BIO_new_mem_buf(key_text.data(), static_cast<int>(key_text.size())));
  bssl::UniquePtr<EVP_PKEY> key(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
  if (key == nullptr) return CertificateInvalid("the server certificate's private key is not PKCS #8 PEM");
  if (!SSL_CTX_set_chain_and_key(context, chain.data(), chain.size(), key.get(), nullptr)) {
    return CertificateInvalid("the server's certificate and private key do not belong together");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<SSL_CTX>> MakeServerContext(absl::string_view certificate_pem, const Secret& key_pem) {
  bssl::UniquePtr<SSL_CTX> context = MakeContext();
  SSL_CTX_set_psk_server_callback(context.get(), &TlsCallbacks::PskOfClient);
  SSL_CTX_set_alpn_select_cb(context.get(), &TlsCallbacks::ChooseApplication, nullptr);
  if (certificate_pem.empty() != key_pem.empty()) {
    return CertificateInvalid("the server's certificate and its private key must be given together");
  }
  if (!certificate_pem.empty()) {
    RETURN_IF_ERROR(UseCertificate(context.get(), certificate_pem, key_pem));
    static constexpr uint16_t kSignatures[] = {SSL_SIGN_ECDSA_SECP256R1_SHA256};
    SSL_CTX_set_verify_algorithm_prefs(context.get(), kSignatures, 1);
    SSL_CTX_set_max_proto_version(context.get(), TLS1_3_VERSION);
    SSL_CTX_set_custom_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                              &TlsCallbacks::VerifyClient);
    SSL_CTX_set_select_certificate_cb(context.get(), &TlsCallbacks::ChooseVersion);
  }
  return std::shared_ptr<SSL_CTX>(context.release(), &SSL_CTX_free);
}

SSL_CTX* ClientContext() {
  static SSL_CTX* const kContext = [] {
    bssl::UniquePtr<SSL_CTX> context = MakeContext();
    SSL_CTX_set_psk_client_callback(context.get(), &TlsCallbacks::PskOfServer);
    static constexpr uint8_t kHttp2[] = {2, 'h', '2'};
    SSL_CTX_set_alpn_protos(context.get(), kHttp2, sizeof(kHttp2));
    return context.release();
  }();
  return kContext;
}

}  // namespace parley::transport
