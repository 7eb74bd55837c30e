#include "clients/operator/exported_files.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/secret.h"
#include "lib/keys/identity.h"

namespace parley::ops {
namespace {

// "identity:key in hex", as stunnel and GnuTLS read it.
Secret PskLine(const keys::AudienceKey& key) {
  std::string hex = HexEncode(keys::DerivePsk(key.secret).Expose());
  std::string line = absl::StrCat(key.identity, ":", hex, "\n");
  WipeString(&hex);
  return Secret::Take(std::move(line));
}

}  // namespace

absl::StatusOr<ExportedFiles> ExportToFolder(const keys::Credential& credential, absl::string_view audience,
                                             const std::string& folder) {
  ASSIGN_OR_RETURN(const keys::AudienceKey* key, credential.KeyFor(audience));
  ASSIGN_OR_RETURN(const keys::ExportedCredential exported, keys::ExportCredential(credential, audience, absl::Now()));
  RETURN_IF_ERROR(MakeFolders(folder, 0700));
  ExportedFiles files{folder + "/ca.pem", folder + "/client.pem", folder + "/client.key", folder + "/psk.txt"};
  RETURN_IF_ERROR(WriteSecretFile(files.private_key, exported.key_pem));
  RETURN_IF_ERROR(WriteSecretFile(files.psk, PskLine(*key)));
  RETURN_IF_ERROR(WriteFileAtomically(files.certificate, exported.certificate_pem, 0644));
  RETURN_IF_ERROR(WriteFileAtomically(files.ca, exported.ca_pem, 0644));
  return files;
}

}  // namespace parley::ops
