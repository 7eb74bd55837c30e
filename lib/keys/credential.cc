#include "lib/keys/credential.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/crypto/certificate.h"
#include "lib/crypto/hash.h"
#include "lib/keys/credential.pb.h"
#include "lib/keys/identity.h"
#include "lib/keys/roles.h"

namespace parley::keys {
namespace {

constexpr absl::string_view kPrefix = "prc1.";
constexpr size_t kChecksumBytes = 4;
constexpr size_t kMaxTextBytes = 64 * 1024;
// The years that a protobuf timestamp may name.
constexpr int64_t kMaxUnixSeconds = 253'402'300'799;

absl::Status Damaged() {
  return InvalidArgument("CREDENTIAL_DAMAGED", "the credential is damaged; copy it again, the whole line");
}

std::string Checksum(absl::string_view bytes) { return crypto::Sha256(bytes).substr(0, kChecksumBytes); }

// Wipes the secrets that protobuf keeps in ordinary strings.
class WipedFile {
 public:
  WipedFile() = default;
  WipedFile(const WipedFile&) = delete;
  WipedFile& operator=(const WipedFile&) = delete;
  ~WipedFile() {
    for (CredentialFile::Key& key : *file_.mutable_keys()) WipeString(key.mutable_secret());
  }
  CredentialFile* operator->() { return &file_; }

 private:
  CredentialFile file_;
};

bool IsSerial(absl::string_view serial) {
  const std::optional<std::string> bytes = HexDecode(serial);
  return bytes.has_value() && bytes->size() == kSerialBytes;
}

bool IsGood(const CredentialFile::Key& key) {
  return !key.audience().empty() && !key.address().empty() && !key.identity().empty() &&
         key.identity().size() <= kMaxIdentityBytes && Base64UrlDecode(key.identity()).has_value() &&
         key.secret().size() == kSecretBytes;
}

}  // namespace

absl::StatusOr<const AudienceKey*> Credential::KeyFor(absl::string_view audience) const {
  for (const AudienceKey& key : keys) {
    if (key.audience == audience) return &key;
  }
  return NotFound("CREDENTIAL_AUDIENCE", "this credential (role ", RoleName(role), ") has no key for ", audience,
                  "; use one whose role may talk to it");
}

Secret FormatCredential(const Credential& credential) {
  WipedFile file;
  file->set_role(credential.role);
  file->set_subject(credential.subject);
  file->set_serial(credential.serial);
  file->mutable_not_after()->set_seconds(absl::ToUnixSeconds(credential.not_after));
  file->set_ca_pem(credential.ca_pem);
  for (const AudienceKey& key : credential.keys) {
    CredentialFile::Key* const added = file->add_keys();
    added->set_audience(key.audience);
    added->set_address(key.address);
    added->set_identity(key.identity);
    const absl::string_view secret = key.secret.Expose();
    added->set_secret(secret.data(), secret.size());
  }
  // Room for the checksum at once: a string that grows leaves a copy of the secrets behind.
  std::string bytes;
  bytes.reserve(file->ByteSizeLong() + kChecksumBytes);
  file->AppendToString(&bytes);
  absl::StrAppend(&bytes, Checksum(bytes));
  Secret encoded = Secret::Take(Base64UrlEncode(bytes));
  WipeString(&bytes);
  return Secret::Take(absl::StrCat(kPrefix, encoded.Expose(), "\n"));
}

absl::StatusOr<Credential> ParseCredential(const Secret& text) {
  absl::string_view line = absl::StripAsciiWhitespace(text.Expose());
  if (!absl::ConsumePrefix(&line, kPrefix)) {
    if (absl::StartsWithIgnoreCase(line, "prl")) {
      return InvalidArgument("CREDENTIAL_NOT_ONE", "this is a join key, not a credential; use it with: parley join");
    }
    if (line.size() > 5 && absl::StartsWith(line, "prc") && absl::ascii_isdigit(line[3]) && line[4] == '.') {
      return InvalidArgument("CREDENTIAL_VERSION",
                             "the credential is of a newer version of Parley; upgrade parley on this machine");
    }
    return InvalidArgument("CREDENTIAL_NOT_ONE", "this is not a credential; a credential starts with prc1.");
  }
  if (line.size() > kMaxTextBytes) return Damaged();
  std::optional<std::string> decoded = Base64UrlDecode(line);
  if (!decoded.has_value()) return Damaged();
  const Secret held = Secret::Take(std::move(*decoded));
  absl::string_view bytes = held.Expose();
  if (bytes.size() <= kChecksumBytes) return Damaged();
  const absl::string_view checksum = bytes.substr(bytes.size() - kChecksumBytes);
  bytes.remove_suffix(kChecksumBytes);
  WipedFile file;
  if (Checksum(bytes) != checksum || !file->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return Damaged();
  }

  if (file->role() == access::v1::ROLE_UNSPECIFIED || !access::v1::Role_IsValid(file->role()) ||
      file->subject().empty() || !IsSerial(file->serial()) || file->keys().empty() || file->not_after().seconds() < 0 ||
      file->not_after().seconds() > kMaxUnixSeconds) {
    return Damaged();
  }
  Credential credential;
  credential.role = file->role();
  credential.subject = file->subject();
  credential.serial = file->serial();
  credential.not_after = absl::FromUnixSeconds(file->not_after().seconds());
  credential.ca_pem = file->ca_pem();
  for (const CredentialFile::Key& key : file->keys()) {
    if (!IsGood(key)) return Damaged();
    credential.keys.push_back({key.audience(), key.address(), key.identity(), Secret::CopyOf(key.secret())});
  }
  return credential;
}

absl::StatusOr<Credential> ReadCredentialFile(const std::string& path) {
  ASSIGN_OR_RETURN(const Secret text, ReadSecretFile(path, kMaxTextBytes));
  absl::StatusOr<Credential> credential = ParseCredential(text);
  if (!credential.ok()) return Annotate(credential.status(), path);
  return credential;
}

absl::Status WriteCredentialFile(const std::string& path, const Credential& credential) {
  return WriteSecretFile(path, FormatCredential(credential));
}

absl::StatusOr<ExportedCredential> ExportCredential(const Credential& credential, absl::string_view audience,
                                                    absl::Time now) {
  ASSIGN_OR_RETURN(const AudienceKey* const key, credential.KeyFor(audience));
  if (now >= credential.not_after) {
    return FailedPrecondition("CREDENTIAL_EXPIRED", "the credential of ", credential.subject, " expired at ",
                              absl::FormatTime("%Y-%m-%d %H:%M UTC", credential.not_after, absl::UTCTimeZone()),
                              "; ask an admin for a new one");
  }
  ASSIGN_OR_RETURN(const crypto::EcKey ec, crypto::EcKey::Derive(DeriveCertificateSeed(key->secret)));
  ExportedCredential exported;
  ASSIGN_OR_RETURN(exported.certificate_pem,
                   crypto::MakeClientCertificate(ec, key->identity, now, credential.not_after));
  exported.ca_pem = credential.ca_pem;
  exported.key_pem = ec.ToPem();
  return exported;
}

}  // namespace parley::keys
