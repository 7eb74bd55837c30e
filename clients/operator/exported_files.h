// A credential as files for programs that know nothing of Parley's own: TLS 1.3 certificates, and the key for TLS-PSK.
//
// Threads: a free function without state.
#ifndef PARLEY_CLIENTS_OPERATOR_EXPORTED_FILES_H_
#define PARLEY_CLIENTS_OPERATOR_EXPORTED_FILES_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/keys/credential.h"

namespace parley::ops {

// The paths of the files.
struct ExportedFiles {
  std::string ca, certificate;
  // The certificate's private key, and a line with "identity:key in hex". Both files have mode 0600.
  std::string private_key, psk;
};

// Writes ca.pem, client.pem, client.key and psk.txt into the folder, which is made if it is missing. Returns the errors
// of Credential::KeyFor, keys::ExportCredential and lib/base/file.h.
absl::StatusOr<ExportedFiles> ExportToFolder(const keys::Credential& credential, absl::string_view audience,
                                             const std::string& folder);

}  // namespace parley::ops

#endif  // PARLEY_CLIENTS_OPERATOR_EXPORTED_FILES_H_
