// The credentials that keyd writes for its own host: {folder}/{admin,operator,taskd,enrolld}.credential, mode 0600.
#ifndef PARLEY_SERVICES_KEYD_DOMAIN_CREDENTIAL_FILES_H_
#define PARLEY_SERVICES_KEYD_DOMAIN_CREDENTIAL_FILES_H_

#include <string>

#include "absl/status/status.h"
#include "lib/base/clock.h"
#include "services/keyd/domain/key_authority.h"

namespace parley::keyd {

// FILE_EXPOSED when a file in the folder may be opened by others. A folder that is not there holds none.
absl::Status CheckCredentialFiles(const std::string& folder);

// Brings the files up to date. The services' are made when missing, under an older root, or within a third of their
// life from the end, so that a service which reads its file again never runs out; those of people are made at the
// founding alone, because they are meant to be taken elsewhere. A file whose addresses are no longer the configured
// ones is written again with the same key.
absl::Status UpdateCredentialFiles(KeyAuthority* authority, const Clock& clock, const std::string& folder);

// A new admin.credential, for an organisation that has lost its last one. Needs this host's folder and KEK.
absl::Status MakeAdminCredential(KeyAuthority* authority, const std::string& folder);

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_DOMAIN_CREDENTIAL_FILES_H_
