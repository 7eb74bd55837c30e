// P-256 keys and the few X.509 certificates that Parley makes (RFC 5280), for peers that cannot do TLS-PSK.
//
// Errors are INVALID_ARGUMENT with the reason CERTIFICATE.
//
// Threads: free functions without state; const methods of EcKey may be called from several threads at once.
#ifndef PARLEY_LIB_CRYPTO_CERTIFICATE_H_
#define PARLEY_LIB_CRYPTO_CERTIFICATE_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/base/secret.h"

// BoringSSL's, so that this header needs none of its headers.
struct evp_pkey_st;

namespace parley::crypto {

// A P-256 key pair.
class EcKey {
 public:
  static EcKey Generate();
  // Returns the same key for the same secret (BoringSSL's EC_KEY_derive_from_secret). Returns INVALID_ARGUMENT
  // (KEY_LENGTH) below 16 bytes.
  static absl::StatusOr<EcKey> Derive(const Secret& secret);
  // Reads what ToPem returned. Returns INVALID_ARGUMENT for anything else.
  static absl::StatusOr<EcKey> FromPem(const Secret& pem);

  // Returns the private key in PKCS #8.
  Secret ToPem() const;
  // Returns the DER SubjectPublicKeyInfo.
  std::string PublicKey() const;

  // Returns BoringSSL's key, which lives as long as this.
  evp_pkey_st* get() const { return key_.get(); }

 private:
  using Key = std::unique_ptr<evp_pkey_st, void (*)(evp_pkey_st*)>;
  explicit EcKey(Key key) : key_(std::move(key)) {}

  Key key_;
};

// Makes a self-signed client certificate for `key`, in PEM: subject alternative name URI "parley:{identity}",
// digitalSignature, clientAuth, valid from an hour before `now` until `not_after`.
absl::StatusOr<std::string> MakeClientCertificate(const EcKey& key, absl::string_view identity, absl::Time now,
                                                  absl::Time not_after);

// Returns the identity in a client certificate (X.509 in DER), or INVALID_ARGUMENT unless there is exactly one such
// URI.
absl::StatusOr<std::string> IdentityOfClientCertificate(absl::string_view der);
// Returns the DER SubjectPublicKeyInfo of a certificate, or INVALID_ARGUMENT if it is none.
absl::StatusOr<std::string> PublicKeyOfCertificate(absl::string_view der);

// Makes the CA of an organisation, in PEM: self-signed, CA:TRUE, pathlen 0, keyCertSign.
absl::StatusOr<std::string> MakeCaCertificate(const EcKey& key, absl::string_view organisation, absl::Time now,
                                              absl::Time not_after);

// Returns the organisation of a CA certificate, or INVALID_ARGUMENT if it is none.
absl::StatusOr<std::string> OrganisationOfCa(absl::string_view ca_pem);

// Makes a server certificate under the CA for DNS names and IP addresses, in PEM. Returns INVALID_ARGUMENT for a
// malformed name, or a public key (DER SubjectPublicKeyInfo) that is not P-256.
absl::StatusOr<std::string> MakeServerCertificate(const EcKey& ca_key, absl::string_view ca_pem,
                                                  absl::string_view public_key, const std::vector<std::string>& names,
                                                  absl::Time now, absl::Time not_after);

}  // namespace parley::crypto

#endif  // PARLEY_LIB_CRYPTO_CERTIFICATE_H_
