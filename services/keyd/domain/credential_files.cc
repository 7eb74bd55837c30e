#include "services/keyd/domain/credential_files.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include <memory>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/keys/credential.h"

namespace parley::keyd {
namespace {

std::string PathOf(const std::string& folder, absl::string_view name) {
  return absl::StrCat(folder, "/", name, ".credential");
}

absl::Status Make(KeyAuthority* authority, const std::string& folder, absl::string_view name, access::v1::Role role) {
  ASSIGN_OR_RETURN(const KeyAuthority::Issued issued, authority->IssueOwn(role, name, kMaxTtl));
  const std::string path = PathOf(folder, name);
  RETURN_IF_ERROR(keys::WriteCredentialFile(path, issued.credential));
  LogInfo("wrote a credential", {{"path", path}, {"name", issued.record.name()}});
  return absl::OkStatus();
}

// Writes the file again when its addresses are not the configured ones.
absl::Status UpdateAddresses(const KeyAuthority& authority, const std::string& path, keys::Credential credential) {
  const std::map<std::string, std::string> addresses = authority.addresses();
  bool changed = false;
  for (keys::AudienceKey& key : credential.keys) {
    const auto address = addresses.find(key.audience);
    if (address == addresses.end() || address->second == key.address) continue;
    key.address = address->second;
    changed = true;
  }
  return changed ? keys::WriteCredentialFile(path, credential) : absl::OkStatus();
}

absl::StatusOr<bool> IsGoodForLong(const KeyAuthority& authority, const Clock& clock,
                                   const keys::Credential& credential) {
  if (credential.not_after - clock.Now() < kMaxTtl / 3) return false;
  const auto record = authority.Get(absl::StrCat("credentials/", credential.serial));
  if (absl::IsNotFound(record.status())) return false;
  RETURN_IF_ERROR(record.status());
  return record->epoch() == authority.primary_epoch() && !record->has_revoke_time();
}

absl::Status Update(KeyAuthority* authority, const Clock& clock, const std::string& folder, absl::string_view name,
                    access::v1::Role role, bool founding) {
  const std::string path = PathOf(folder, name);
  absl::StatusOr<keys::Credential> credential = keys::ReadCredentialFile(path);
  const bool missing = absl::IsNotFound(credential.status());
  if (!missing) RETURN_IF_ERROR(credential.status());
  bool make = missing && founding;
  if (role == access::v1::ROLE_SERVICE) {
    make = missing;
    if (!missing) {
      ASSIGN_OR_RETURN(const bool good, IsGoodForLong(*authority, clock, *credential));
      make = !good;
    }
  }
  if (make) return Make(authority, folder, name, role);
  return missing ? absl::OkStatus() : UpdateAddresses(*authority, path, *std::move(credential));
}

}  // namespace

absl::Status CheckCredentialFiles(const std::string& folder) {
  DIR* const directory = opendir(folder.c_str());
  if (directory == nullptr) return errno == ENOENT ? absl::OkStatus() : FileError("read", folder, errno);
  absl::Cleanup close_it = [directory] { closedir(directory); };
  while (const dirent* const entry = readdir(directory)) {
    const std::string path = absl::StrCat(folder, "/", entry->d_name);
    struct stat info;
    if (lstat(path.c_str(), &info) != 0) return FileError("read", path, errno);
    if (!S_ISREG(info.st_mode) || (info.st_mode & 0077) == 0) continue;
    return Error(absl::StatusCode::kFailedPrecondition, "FILE_EXPOSED",
                 absl::StrCat(path,
                              " holds a secret but others may open it; revoke that credential if they may have, "
                              "then run: chmod 600 ",
                              path));
  }
  return absl::OkStatus();
}

absl::Status UpdateCredentialFiles(KeyAuthority* authority, const Clock& clock, const std::string& folder) {
  RETURN_IF_ERROR(MakeFolders(folder, 0700));
  ASSIGN_OR_RETURN(const bool founding, authority->Founding());
  RETURN_IF_ERROR(Update(authority, clock, folder, "admin", access::v1::ROLE_ADMIN, founding));
  RETURN_IF_ERROR(Update(authority, clock, folder, "operator", access::v1::ROLE_OPERATOR, founding));
  RETURN_IF_ERROR(Update(authority, clock, folder, keys::kTaskd, access::v1::ROLE_SERVICE, founding));
  RETURN_IF_ERROR(Update(authority, clock, folder, keys::kEnrolld, access::v1::ROLE_SERVICE, founding));
  return founding ? authority->FoundingDone() : absl::OkStatus();
}

absl::Status MakeAdminCredential(KeyAuthority* authority, const std::string& folder) {
  RETURN_IF_ERROR(MakeFolders(folder, 0700));
  return Make(authority, folder, "admin", access::v1::ROLE_ADMIN);
}

}  // namespace parley::keyd
