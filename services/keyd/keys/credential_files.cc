#include "services/keyd/keys/credential_files.h"

#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/crypto/hash.h"

namespace parley::keyd {

std::string CredentialFiles::PathOf(absl::string_view name) const {
  return absl::StrCat(folder_, "/", name, ".credential");
}

absl::Status CredentialFiles::Make(absl::string_view name, access::v1::Role role, bool founding) const {
  Credentials::IssueSpec spec;
  spec.role = role;
  spec.subject = std::string(name);
  spec.ttl = kMaxTtl;
  spec.issuer = spec.actor = "keyd";
  if (founding) spec.request_hash = HexEncode(crypto::Sha256(absl::StrCat("founding\n", name)));
  ASSIGN_OR_RETURN(const Credentials::Issued issued, credentials_->IssueOnce(spec));
  const std::string path = PathOf(name);
  RETURN_IF_ERROR(keys::WriteCredentialFile(path, issued.credential));
  LogInfo("wrote a credential", {{"path", path}, {"name", issued.record.name()}});
  return absl::OkStatus();
}

absl::Status CredentialFiles::UpdateAddresses(const std::string& path, keys::Credential credential) const {
  const std::map<std::string, std::string>& addresses = credentials_->addresses();
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
  if (credential.not_after - store_->Now() < kMaxTtl / 3) return false;
  const auto record = credentials_->Get(CredentialName(credential.serial));
  if (absl::IsNotFound(record.status())) return false;
  RETURN_IF_ERROR(record.status());
  return record->epoch() == roots_->primary_epoch() && !record->has_revoke_time();
}

absl::Status CredentialFiles::UpdateOne(absl::string_view name, access::v1::Role role, bool founding) const {
  const std::string path = PathOf(name);
  absl::StatusOr<keys::Credential> credential = keys::ReadCredentialFile(path);
  if (absl::IsNotFound(credential.status())) {
    return founding || role == access::v1::ROLE_SERVICE ? Make(name, role, founding) : absl::OkStatus();
  }
  RETURN_IF_ERROR(credential.status());
  if (role == access::v1::ROLE_SERVICE) {
    ASSIGN_OR_RETURN(const bool good, IsGoodForLong(*credential));
    if (!good) return Make(name, role, /*founding=*/false);
  }
  return UpdateAddresses(path, *std::move(credential));
}

absl::Status CredentialFiles::Update() {
  MutexLock lock(&mutex_);
  return UpdateAll();
}

absl::Status CredentialFiles::UpdateAll() {
  RETURN_IF_ERROR(MakeFolders(folder_, 0700));
  ASSIGN_OR_RETURN(const bool founding, store_->IsFounding());
  RETURN_IF_ERROR(UpdateOne("admin", access::v1::ROLE_ADMIN, founding));
  RETURN_IF_ERROR(UpdateOne("operator", access::v1::ROLE_OPERATOR, founding));
  RETURN_IF_ERROR(UpdateOne(keys::kTaskd, access::v1::ROLE_SERVICE, founding));
  RETURN_IF_ERROR(UpdateOne(keys::kEnrolld, access::v1::ROLE_SERVICE, founding));
  return founding ? store_->FoundingDone() : absl::OkStatus();
}

}  // namespace parley::keyd
