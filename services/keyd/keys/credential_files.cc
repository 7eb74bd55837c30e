#include "services/keyd/keys/credential_files.h"

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

std::string CredentialFiles::PathOf(absl::string_view name) const {
  return absl::StrCat(folder_, "/", name, ".credential");
}

absl::Status CredentialFiles::Make(absl::string_view name, access::v1::Role role) const {
  ASSIGN_OR_RETURN(const Credentials::Issued issued, credentials_->IssueOwn(role, name, kMaxTtl));
  const std::string path = PathOf(name);
  RETURN_IF_ERROR(keys::WriteCredentialFile(path, issued.credential));
  LogInfo("wrote a credential", {{"path", path}, {"name", issued.record.name()}});
  return absl::OkStatus();
}

absl::Status CredentialFiles::UpdateAddresses(const std::string& path, keys::Credential credential) const {
  const std::map<std::string, std::string> addresses = credentials_->addresses();
  bool changed = false;
  for (keys::AudienceKey& key : credential.keys) {
    const auto address = addresses.find(key.audience);
    if (address == addresses.end() || address->second == key.address) continue;
    key.address = address->second;
    changed = true;
  }
  return changed ? keys::WriteCredentialFile(path, credential) : absl::OkStatus();
}

absl::StatusOr<bool> CredentialFiles::IsGoodForLong(const keys::Credential& credential) const {
  if (credential.not_after - clock_->Now() < kMaxTtl / 3) return false;
  const auto record = credentials_->Get(CredentialName(credential.serial));
  if (absl::IsNotFound(record.status())) return false;
  RETURN_IF_ERROR(record.status());
  return record->epoch() == roots_->primary_epoch() && !record->has_revoke_time();
}

absl::Status CredentialFiles::UpdateOne(absl::string_view name, access::v1::Role role, bool founding) const {
  const std::string path = PathOf(name);
  absl::StatusOr<keys::Credential> credential = keys::ReadCredentialFile(path);
  const bool missing = absl::IsNotFound(credential.status());
  if (!missing) RETURN_IF_ERROR(credential.status());
  bool make = missing && founding;
  if (role == access::v1::ROLE_SERVICE) {
    make = missing;
    if (!missing) {
      ASSIGN_OR_RETURN(const bool good, IsGoodForLong(*credential));
      make = !good;
    }
  }
  if (make) return Make(name, role);
  return missing ? absl::OkStatus() : UpdateAddresses(path, *std::move(credential));
}

absl::Status CredentialFiles::Update() const {
  RETURN_IF_ERROR(MakeFolders(folder_, 0700));
  ASSIGN_OR_RETURN(const bool founding, store_->IsFounding());
  RETURN_IF_ERROR(UpdateOne("admin", access::v1::ROLE_ADMIN, founding));
  RETURN_IF_ERROR(UpdateOne("operator", access::v1::ROLE_OPERATOR, founding));
  RETURN_IF_ERROR(UpdateOne(keys::kTaskd, access::v1::ROLE_SERVICE, founding));
  RETURN_IF_ERROR(UpdateOne(keys::kEnrolld, access::v1::ROLE_SERVICE, founding));
  return founding ? store_->FoundingDone() : absl::OkStatus();
}

absl::Status CredentialFiles::MakeAdmin() const {
  RETURN_IF_ERROR(MakeFolders(folder_, 0700));
  return Make("admin", access::v1::ROLE_ADMIN);
}

}  // namespace parley::keyd
