// P-256 keys and the few X.509 certificates that Parley makes (RFC 5280), for peers that cannot do TLS-PSK.
#ifndef PARLEY_LIB_CRYPTO_CERTIFICATE_H_
#define PARLEY_LIB_CRYPTO_CERTIFICATE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/base/secret.h"

namespace parley::crypto {

// A P-256 key pair.
class EcKey {
 public:
  static EcKey Generate();
  // The same key for the same secret (BoringSSL's EC_KEY_derive_from_secret). INVALID_ARGUMENT below 16 bytes.
  static absl::StatusOr<EcKey> Derive(const Secret& secret);
  // From ToPem. INVALID_ARGUMENT for anything else.
  static absl::StatusOr<EcKey> FromPem(const Secret& pem);
  ~EcKey();
  EcKey(EcKey&&) noexcept;
  EcKey& operator=(EcKey&&) noexcept;

  // PKCS #8.
  Secret ToPem() const;
  // DER SubjectPublicKeyInfo.
  std::string PublicKey() const;

  struct Impl;
  const Impl& impl() const { return *impl_; }

 private:
  explicit EcKey(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// A self-signed client certificate for `key`: subject alternative name URI "parley:{identity}", digitalSignature,
// clientAuth, valid from an hour before `now` to `not_after`. PEM.
absl::StatusOr<std::string> MakeClientCertificate(const EcKey& key, absl::string_view identity, absl::Time now,
                                                  absl::Time not_after);

// The identity in a client certificate; INVALID_ARGUMENT unless there is exactly one such URI. `der`: X.509.
absl::StatusOr<std::string> IdentityOfClientCertificate(absl::string_view der);
// DER SubjectPublicKeyInfo of a certificate.
absl::StatusOr<std::string> PublicKeyOfCertificate(absl::string_view der);

// An organisation's CA: self-signed, CA:TRUE, pathlen 0, keyCertSign. PEM.
absl::StatusOr<std::string> MakeCaCertificate(const EcKey& key, absl::string_view organisation, absl::Time now,
                                              absl::Time not_after);

// The organisation of a CA certificate; INVALID_ARGUMENT when it is none.
absl::StatusOr<std::string> OrganisationOfCa(absl::string_view ca_pem);

// A server certificate under the CA for DNS names and IP addresses. INVALID_ARGUMENT for a malformed name or a
// public key (DER SubjectPublicKeyInfo) that is not P-256. PEM.
absl::StatusOr<std::string> MakeServerCertificate(const EcKey& ca_key, absl::string_view ca_pem,
                                                  absl::string_view public_key, const std::vector<std::string>& names,
                                                  absl::Time now, absl::Time not_after);

}  // namespace parley::crypto

#endif  // PARLEY_LIB_CRYPTO_CERTIFICATE_H_
