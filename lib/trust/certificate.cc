#include "lib/trust/certificate.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/crypto/hash.h"
#include "lib/crypto/kdf.h"
#include "lib/crypto/x25519.h"
#include "lib/trust/form.h"

namespace parley::trust {
namespace {

using access::v1::Role;
using v1::Certificate;
using v1::SignedCertificate;

constexpr absl::string_view kSignatureContext("parley certificate v1\0", 22);
constexpr absl::string_view kUserPrefix = "users/";
constexpr absl::string_view kDevicePrefix = "devices/";

std::string SignedBytes(absl::string_view certificate) { return absl::StrCat(kSignatureContext, certificate); }

absl::Status Malformed(absl::string_view why) { return InvalidArgument("CHAIN_MALFORMED", "a certificate ", why); }

bool IsId(absl::string_view bytes) { return bytes.size() == kIdBytes; }

// A public key that an honest device has: one point has one encoding, and what is encrypted for it stays secret.
bool IsEncryptionKey(absl::string_view bytes) {
  static const crypto::AgreementKey* const any = new crypto::AgreementKey(crypto::AgreementKey::Generate());
  return bytes.size() == crypto::kX25519Bytes && crypto::IsCanonicalPoint(bytes) && any->Agree(bytes).ok();
}

absl::Status CheckUser(const v1::UserCertificate& user) {
  if (!IsId(user.user())) return Malformed("names a user by another id than 16 bytes");
  if (!IsUserName(user.name())) return Malformed("names a user otherwise than by 1 to 48 characters of [a-z0-9._-]");
  if (!IsMemberRole(user.role())) return Malformed("gives a role that a user cannot have");
  if (!IsEncryptionKey(user.encryption_key())) return Malformed("has an encryption key that is no X25519 public key");
  return absl::OkStatus();
}

absl::Status CheckDevice(const v1::DeviceCertificate& device) {
  if (!IsId(device.device()) || !IsId(device.user())) return Malformed("names a device by another id than 16 bytes");
  if (!IsDeviceLabel(device.label())) return Malformed("labels a device otherwise than by 1 to 64 printable bytes");
  if (device.verification_key().size() != crypto::kVerificationKeyBytes) {
    return Malformed("has a verification key of another size than 32 bytes");
  }
  return absl::OkStatus();
}

absl::Status CheckRole(const v1::RoleCertificate& role) {
  if (!IsId(role.user())) return Malformed("names a user by another id than 16 bytes");
  if (!IsMemberRole(role.role()) || role.role() == access::v1::ROLE_DEVICE) {
    return Malformed("changes to a role that only comes with a new user");
  }
  return absl::OkStatus();
}

absl::Status CheckStatement(const Certificate& certificate) {
  switch (certificate.statement_case()) {
    case Certificate::kUser:
      return CheckUser(certificate.user());
    case Certificate::kDevice:
      return CheckDevice(certificate.device());
    case Certificate::kRole:
      return CheckRole(certificate.role());
    case Certificate::kUserRevocation:
      return IsId(certificate.user_revocation().user()) ? absl::OkStatus() : Malformed("revokes no user");
    case Certificate::kDeviceRevocation:
      return IsId(certificate.device_revocation().device()) ? absl::OkStatus() : Malformed("revokes no device");
    case Certificate::STATEMENT_NOT_SET:
      break;
  }
  return Malformed("states nothing that this version of parley knows; update parley");
}

std::optional<std::string> ParseName(absl::string_view prefix, absl::string_view name) {
  if (!absl::ConsumePrefix(&name, prefix)) return std::nullopt;
  std::optional<std::string> id = HexDecode(name);
  return id.has_value() && IsId(*id) ? id : std::nullopt;
}

}  // namespace

bool IsMemberRole(Role role) {
  return role == access::v1::ROLE_ADMIN || role == access::v1::ROLE_OPERATOR || role == access::v1::ROLE_AUDITOR ||
         role == access::v1::ROLE_DEVICE;
}

bool IsTime(const google::protobuf::Timestamp& timestamp) { return ToTime(timestamp) >= absl::UnixEpoch(); }

bool IsSignedBy(absl::string_view verification_key, const SignedCertificate& certificate) {
  return crypto::VerifySignature(verification_key, SignedBytes(certificate.certificate_bytes()),
                                 certificate.signature());
}

std::string NewId() { return crypto::RandomBytes(kIdBytes); }

std::string UserName(absl::string_view id) { return absl::StrCat(kUserPrefix, HexEncode(id)); }
std::string DeviceName(absl::string_view id) { return absl::StrCat(kDevicePrefix, HexEncode(id)); }
std::optional<std::string> ParseUserName(absl::string_view name) { return ParseName(kUserPrefix, name); }
std::optional<std::string> ParseDeviceName(absl::string_view name) { return ParseName(kDevicePrefix, name); }

bool IsUserName(absl::string_view name) {
  return !name.empty() && name.size() <= kMaxNameBytes && std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '.' || c == '_' || c == '-';
  });
}

bool IsDeviceLabel(absl::string_view label) {
  return !label.empty() && label.size() <= kMaxLabelBytes && IsPrintableUtf8(label);
}

absl::StatusOr<Certificate> ParseCertificate(const SignedCertificate& signed_certificate) {
  const std::string& bytes = signed_certificate.certificate_bytes();
  if (bytes.empty() || bytes.size() > kMaxCertificateBytes) {
    return Malformed(absl::StrCat("has ", bytes.size(), " bytes, not 1 to ", kMaxCertificateBytes));
  }
  if (signed_certificate.signature().size() != crypto::kSignatureBytes) {
    return Malformed("has a signature of another size than 64 bytes");
  }
  Certificate certificate;
  if (!certificate.ParseFromString(bytes)) return Malformed("cannot be read");
  // One statement has one form, so nobody can read into the same bytes what another does not.
  certificate.DiscardUnknownFields();
  if (certificate.SerializeAsString() != bytes) {
    return Malformed("has fields that this version of parley does not know, or is not in the form that is signed");
  }
  if (certificate.sequence() < 1) return Malformed("has no sequence");
  if (certificate.previous_hash().size() != kHashBytes) return Malformed("does not name the one before it");
  if (!certificate.has_time() || !IsTime(certificate.time())) return Malformed("has no time");
  if (!certificate.author_device().empty() && !IsId(certificate.author_device())) {
    return Malformed("names its author by another id than 16 bytes");
  }
  RETURN_IF_ERROR(CheckStatement(certificate));
  return certificate;
}

std::string HashOf(const SignedCertificate& certificate) {
  return crypto::Sha256(absl::StrCat(certificate.certificate_bytes(), certificate.signature()));
}

SignedCertificate SignCertificate(const Certificate& certificate, const crypto::SigningKey& key) {
  SignedCertificate signed_certificate;
  signed_certificate.set_certificate_bytes(certificate.SerializeAsString());
  signed_certificate.set_signature(key.Sign(SignedBytes(signed_certificate.certificate_bytes())));
  return signed_certificate;
}

CertificateMaker::CertificateMaker(const Chain& chain, std::string author_device, const crypto::SigningKey* key,
                                   absl::Time now)
    : CertificateMaker(std::move(author_device), key, now, chain.head(), chain.last_time()) {}

CertificateMaker::CertificateMaker(std::string author_device, const crypto::SigningKey* key, absl::Time now, Head head,
                                   absl::Time last_time)
    : author_device_(std::move(author_device)), key_(key), now_(now), head_(std::move(head)), last_time_(last_time) {}

SignedCertificate CertificateMaker::Sign(Certificate certificate) {
  // A microsecond, for readers whose times have no nanoseconds.
  last_time_ = std::max(now_, last_time_ + absl::Microseconds(1));
  certificate.set_sequence(head_.sequence + 1);
  certificate.set_previous_hash(head_.sequence == 0 ? std::string(kHashBytes, '\0') : head_.hash);
  *certificate.mutable_time() = ToProto(last_time_);
  certificate.set_author_device(author_device_);
  SignedCertificate signed_certificate = SignCertificate(certificate, *key_);
  head_ = {certificate.sequence(), HashOf(signed_certificate)};
  return signed_certificate;
}

SignedCertificate CertificateMaker::AddUser(const NewUser& user) {
  Certificate certificate;
  certificate.mutable_user()->set_user(user.id);
  certificate.mutable_user()->set_name(user.name);
  certificate.mutable_user()->set_role(user.role);
  certificate.mutable_user()->set_encryption_key(user.encryption_key);
  return Sign(std::move(certificate));
}

SignedCertificate CertificateMaker::AddDevice(absl::string_view user, const NewDevice& device) {
  Certificate certificate;
  certificate.mutable_device()->set_device(device.id);
  certificate.mutable_device()->set_user(std::string(user));
  certificate.mutable_device()->set_label(device.label);
  certificate.mutable_device()->set_verification_key(device.verification_key);
  return Sign(std::move(certificate));
}

SignedCertificate CertificateMaker::ChangeRole(absl::string_view user, Role role) {
  Certificate certificate;
  certificate.mutable_role()->set_user(std::string(user));
  certificate.mutable_role()->set_role(role);
  return Sign(std::move(certificate));
}

SignedCertificate CertificateMaker::RevokeUser(absl::string_view user) {
  Certificate certificate;
  certificate.mutable_user_revocation()->set_user(std::string(user));
  return Sign(std::move(certificate));
}

SignedCertificate CertificateMaker::RevokeDevice(absl::string_view device) {
  Certificate certificate;
  certificate.mutable_device_revocation()->set_device(std::string(device));
  return Sign(std::move(certificate));
}

Founding Founding::Make(const NewUser& admin, const NewDevice& device, absl::Time now) {
  const crypto::SigningKey root = crypto::SigningKey::Generate();
  CertificateMaker maker("", &root, now, Head{}, absl::InfinitePast());
  Founding founding;
  founding.root_verification_key = root.verification_key();
  founding.certificates = {maker.AddUser(admin), maker.AddDevice(admin.id, device)};
  return founding;
}

}  // namespace parley::trust
