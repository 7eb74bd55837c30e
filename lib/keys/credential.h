// A credential as its holder keeps it: whom it stands for, and one key for each service that it may talk to.
//
// In a file (mode 0600) it is one line, "prc1." + base64url(protobuf Credential of credential.proto ‖ 4 bytes of
// SHA-256): docs/protocol/keys.md.
//
// Threads: free functions without state; const methods may be called from several threads at once.
#ifndef PARLEY_LIB_KEYS_CREDENTIAL_H_
#define PARLEY_LIB_KEYS_CREDENTIAL_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/base/secret.h"
#include "parley/access/v1/access.pb.h"

namespace parley::keys {

struct AudienceKey {
  std::string audience;
  // The service's address as "host:port".
  std::string address;
  std::string identity;
  Secret secret;
};

struct Credential {
  access::v1::Role role = access::v1::ROLE_UNSPECIFIED;
  std::string subject;
  // 32 hex digits.
  std::string serial;
  absl::Time not_after;
  std::vector<AudienceKey> keys;
  // The organisation's CA, in PEM.
  std::string ca_pem;

  // Returns NOT_FOUND, naming the role, if there is no key for the audience.
  absl::StatusOr<const AudienceKey*> KeyFor(absl::string_view audience) const;
};

Secret FormatCredential(const Credential& credential);
// Does not look at not_after. Returns INVALID_ARGUMENT for what is no credential (CREDENTIAL_NOT_ONE), damaged
// (CREDENTIAL_DAMAGED) or of a newer version (CREDENTIAL_VERSION).
absl::StatusOr<Credential> ParseCredential(const Secret& text);

// Reads a file. Returns FILE_EXPOSED if others may read it, or the errors of ParseCredential with the path.
absl::StatusOr<Credential> ReadCredentialFile(const std::string& path);
// Writes the file with mode 0600. Returns the errors of WriteSecretFile.
absl::Status WriteCredentialFile(const std::string& path, const Credential& credential);

// What `parley credentials export` writes for stacks that do TLS 1.3 with certificates.
struct ExportedCredential {
  std::string ca_pem;
  std::string certificate_pem;
  Secret key_pem;
};
// Returns the errors of KeyFor, FAILED_PRECONDITION (CREDENTIAL_EXPIRED), or the errors of MakeClientCertificate.
absl::StatusOr<ExportedCredential> ExportCredential(const Credential& credential, absl::string_view audience,
                                                    absl::Time now);

}  // namespace parley::keys

#endif  // PARLEY_LIB_KEYS_CREDENTIAL_H_
