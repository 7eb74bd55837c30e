#include "lib/keys/identity.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/crypto/kdf.h"

namespace parley::keys {
namespace {

// An identity before base 64: version ‖ epoch (4 bytes) ‖ sealed claims.
// Claims: role (1) ‖ not_after (5) ‖ serial (16) ‖ subject.
constexpr char kVersion = 1;
constexpr size_t kHeaderBytes = 5;
constexpr size_t kTimeBytes = 5;
constexpr size_t kFixedClaimBytes = 1 + kTimeBytes + kSerialBytes;
constexpr int64_t kMaxUnixSeconds = (int64_t{1} << (8 * kTimeBytes)) - 1;
static_assert((kHeaderBytes + kFixedClaimBytes + kMaxSubjectBytes + crypto::kAeadTagBytes) * 4 / 3 <=
              kMaxIdentityBytes);

// GCM-SIV keeps its promise under one nonce, and so the same claims give the same identity.
absl::string_view Nonce() {
  static constexpr char kNonce[crypto::kAeadNonceBytes] = {};
  return absl::string_view(kNonce, sizeof(kNonce));
}

absl::Status NotAnIdentity() { return Unauthenticated("KEY_UNKNOWN", "this is not a key of this service"); }

absl::StatusOr<Claims> ParseClaims(absl::string_view bytes) {
  if (bytes.size() <= kFixedClaimBytes || bytes.size() > kFixedClaimBytes + kMaxSubjectBytes) return NotAnIdentity();
  const int role = static_cast<uint8_t>(bytes[0]);
  if (role == access::v1::ROLE_UNSPECIFIED || !access::v1::Role_IsValid(role)) return NotAnIdentity();
  Claims claims;
  claims.role = static_cast<access::v1::Role>(role);
  claims.not_after = absl::FromUnixSeconds(static_cast<int64_t>(FromBigEndian(bytes.substr(1, kTimeBytes))));
  claims.serial = std::string(bytes.substr(1 + kTimeBytes, kSerialBytes));
  claims.subject = std::string(bytes.substr(kFixedClaimBytes));
  return claims;
}

Secret DeriveSecret(const Secret& audience_key, absl::string_view identity) {
  return crypto::Hkdf(audience_key, absl::StrCat("parley v1 secret", identity), kSecretBytes);
}

}  // namespace

Secret DeriveAudienceKey(const Secret& root, absl::string_view audience) {
  return crypto::Hkdf(root, absl::StrCat("parley v1 audience", audience), kSecretBytes);
}

Secret DerivePsk(const Secret& secret) { return crypto::Hkdf(secret, "parley v1 tls12-psk", kSecretBytes); }

Secret DeriveCertificateSeed(const Secret& secret) {
  return crypto::Hkdf(secret, "parley v1 tls13-cert", kSecretBytes);
}

Keyring::Keyring() : decoy_(MakeEpoch(crypto::RandomSecret(kSecretBytes))), epochs_(std::make_shared<const Epochs>()) {}

Keyring::Epoch Keyring::MakeEpoch(Secret key) {
  crypto::Aead aead = *crypto::Aead::Create(crypto::Hkdf(key, "parley v1 identity", crypto::kAeadKeyBytes));
  return Epoch{std::move(key), std::move(aead)};
}

absl::Status Keyring::Replace(std::map<uint32_t, Secret> keys, uint32_t primary) {
  if (keys.count(primary) == 0) {
    return InvalidArgument("KEYRING", "the primary epoch is not among the live ones");
  }
  auto epochs = std::make_shared<Epochs>();
  for (auto& [number, key] : keys) {
    if (key.size() != kSecretBytes) {
      return InvalidArgument("KEYRING", "an audience's key has 32 bytes");
    }
    epochs->live.emplace(number, MakeEpoch(std::move(key)));
  }
  epochs->primary = primary;
  MutexLock lock(&mutex_);
  epochs_ = std::move(epochs);
  return absl::OkStatus();
}

std::shared_ptr<const Keyring::Epochs> Keyring::epochs() const {
  MutexLock lock(&mutex_);
  return epochs_;
}

absl::StatusOr<Keyring::Minted> Keyring::Mint(const Claims& claims) const {
  const std::shared_ptr<const Epochs> current = epochs();
  if (current->live.empty()) {
    return FailedPrecondition("KEYRING_EMPTY", "there is no key to issue under yet; try again");
  }
  return MintUnder(claims, current->primary, current->live.at(current->primary));
}

absl::StatusOr<Keyring::Minted> Keyring::Mint(const Claims& claims, uint32_t epoch) const {
  const std::shared_ptr<const Epochs> current = epochs();
  const auto found = current->live.find(epoch);
  if (found == current->live.end()) {
    return NotFound("EPOCH_RETIRED", "key epoch ", epoch, " is not live");
  }
  return MintUnder(claims, epoch, found->second);
}

absl::StatusOr<Keyring::Minted> Keyring::MintUnder(const Claims& claims, uint32_t number, const Epoch& epoch) {
  const int64_t not_after = absl::ToUnixSeconds(claims.not_after);
  if (claims.role == access::v1::ROLE_UNSPECIFIED || !access::v1::Role_IsValid(claims.role) || claims.subject.empty() ||
      claims.subject.size() > kMaxSubjectBytes || claims.serial.size() != kSerialBytes || not_after < 0 ||
      not_after > kMaxUnixSeconds) {
    return InvalidArgument("CLAIMS",
                           "a key needs a role, a subject of 1 to 50 bytes, a serial of 16 bytes and a time of expiry");
  }
  const std::string header = absl::StrCat(std::string(1, kVersion), BigEndian(number, 4));
  const std::string plaintext =
      absl::StrCat(BigEndian(claims.role, 1), BigEndian(static_cast<uint64_t>(not_after), kTimeBytes), claims.serial,
                   claims.subject);
  Minted minted;
  minted.identity = Base64UrlEncode(absl::StrCat(header, epoch.aead.Seal(Nonce(), plaintext, header)));
  minted.secret = DeriveSecret(epoch.key, minted.identity);
  return minted;
}

absl::StatusOr<Keyring::Opened> Keyring::Open(absl::string_view identity) const {
  std::optional<std::string> raw = Base64UrlDecode(identity.substr(0, kMaxIdentityBytes + 1));
  const bool formed = raw.has_value() && raw->size() > kHeaderBytes + kFixedClaimBytes + crypto::kAeadTagBytes &&
                      identity.size() <= kMaxIdentityBytes && (*raw)[0] == kVersion;
  // What does not have the form of an identity is replaced by something that does.
  if (!formed) {
    static const std::string* const placeholder = new std::string(kMaxIdentityBytes * 3 / 4, 'A');
    identity = *placeholder;
    raw = Base64UrlDecode(identity);
  }
  const absl::string_view bytes = *raw;
  const absl::string_view header = bytes.substr(0, kHeaderBytes);

  const std::shared_ptr<const Epochs> current = epochs();
  const auto found = current->live.find(static_cast<uint32_t>(FromBigEndian(header.substr(1))));
  const Epoch& epoch = formed && found != current->live.end() ? found->second : decoy_;
  const absl::StatusOr<Secret> plaintext = epoch.aead.Open(Nonce(), bytes.substr(kHeaderBytes), header);
  Secret secret = DeriveSecret(epoch.key, identity);
  if (!formed || !plaintext.ok()) return NotAnIdentity();
  ASSIGN_OR_RETURN(Claims claims, ParseClaims(plaintext->Expose()));
  return Opened{std::move(claims), std::move(secret)};
}

}  // namespace parley::keys
