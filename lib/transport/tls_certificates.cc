// The handshake with servers that know X.509 certificates in place of Parley's keys.
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <string>

#include "lib/base/error.h"
#include "lib/transport/address.h"
#include "lib/transport/tls_session.h"

namespace parley::transport {
namespace {

absl::Status CertificateInvalid(absl::string_view what) {
  ERR_clear_error();
  return InvalidArgument("CERTIFICATE_INVALID", what);
}

bssl::UniquePtr<BIO> Read(absl::string_view pem) {
  return bssl::UniquePtr<BIO>(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

absl::Status TrustOnly(SSL_CTX* context, absl::string_view ca_pem) {
  const bssl::UniquePtr<BIO> bio = Read(ca_pem);
  int found = 0;
  while (true) {
    const bssl::UniquePtr<X509> certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (certificate == nullptr) break;
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate.get());
    ++found;
  }
  ERR_clear_error();
  return found > 0 ? absl::OkStatus() : CertificateInvalid("the file of the CA has no certificate in PEM");
}

absl::Status UseOwn(SSL_CTX* context, absl::string_view certificate_pem, const Secret& key_pem) {
  const bssl::UniquePtr<BIO> bio = Read(certificate_pem);
  bssl::UniquePtr<X509> certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  if (certificate == nullptr || !SSL_CTX_use_certificate(context, certificate.get())) {
    return CertificateInvalid("the client's certificate is not PEM");
  }
  while (true) {
    certificate.reset(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (certificate == nullptr) break;
    SSL_CTX_add1_chain_cert(context, certificate.get());
  }
  ERR_clear_error();
  const bssl::UniquePtr<BIO> key_bio = Read(key_pem.Expose());
  const bssl::UniquePtr<EVP_PKEY> key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr));
  if (key == nullptr) return CertificateInvalid("the client's private key is not PEM without a password");
  if (!SSL_CTX_use_PrivateKey(context, key.get()) || !SSL_CTX_check_private_key(context)) {
    return CertificateInvalid("the client's certificate and private key do not belong together");
  }
  return absl::OkStatus();
}

// A name is never looked for in the subject, as of RFC 6125.
absl::Status DemandName(SSL_CTX* context, const std::string& name) {
  X509_VERIFY_PARAM* const verify = SSL_CTX_get0_param(context);
  X509_VERIFY_PARAM_set_hostflags(verify, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
  if (X509_VERIFY_PARAM_set1_ip_asc(verify, name.c_str())) return absl::OkStatus();
  ERR_clear_error();
  if (!name.empty() && X509_VERIFY_PARAM_set1_host(verify, name.data(), name.size())) return absl::OkStatus();
  return CertificateInvalid("the server has no name that a certificate could be for");
}

}  // namespace

absl::StatusOr<std::shared_ptr<SSL_CTX>> MakeCertificateContext(const CertificateKey& key, const std::string& name) {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_method()), &SSL_CTX_free);
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_max_proto_version(context.get(), TLS1_3_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_TICKET);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  static constexpr uint8_t kHttp2[] = {2, 'h', '2'};
  SSL_CTX_set_alpn_protos(context.get(), kHttp2, sizeof(kHttp2));
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  RETURN_IF_ERROR(TrustOnly(context.get(), key.ca_pem));
  RETURN_IF_ERROR(UseOwn(context.get(), key.certificate_pem, key.key_pem));
  RETURN_IF_ERROR(DemandName(context.get(), name));
  return context;
}

std::string VerifyErrorOf(const SSL* ssl) {
  const long result = SSL_get_verify_result(ssl);
  return result == X509_V_OK ? "" : X509_verify_cert_error_string(result);
}

}  // namespace parley::transport
