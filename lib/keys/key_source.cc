#include "lib/keys/key_source.h"

#include <algorithm>
#include <utility>

#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/crypto/certificate.h"
#include "lib/crypto/kdf.h"

namespace parley::keys {
namespace {

// Below this, sweeping costs more than it frees.
constexpr size_t kSweepAtLeast = 1024;
// A revocation outlives its key, in case the clock is set back.
constexpr absl::Duration kGrace = absl::Hours(24);

// The roles that are not a machine's that takes part in tasks.
bool IsPersonOrService(access::v1::Role role) {
  return role == access::v1::ROLE_ADMIN || role == access::v1::ROLE_OPERATOR || role == access::v1::ROLE_AUDITOR ||
         role == access::v1::ROLE_SERVICE;
}

}  // namespace

AudienceKeySource::AudienceKeySource(const Keyring* keyring, const Clock* clock, CheckAdmits check_admits)
    : keyring_(keyring),
      clock_(clock),
      check_admits_(std::move(check_admits)),
      decoy_(crypto::RandomSecret(kSecretBytes)),
      sweep_at_(kSweepAtLeast) {}

absl::StatusOr<transport::KeySource::Key> AudienceKeySource::Find(absl::string_view identity, Want want) {
  const absl::StatusOr<Keyring::Opened> opened = keyring_->Open(identity);
  const Secret& secret = opened.ok() ? opened->secret : decoy_;

  // Derived before anything is decided, so that the time does not show the decision.
  Key key;
  if (want == Want::kPsk) {
    key.psk = DerivePsk(secret);
  } else {
    ASSIGN_OR_RETURN(const crypto::EcKey ec, crypto::EcKey::Derive(DeriveCertificateSeed(secret)));
    key.public_key = ec.PublicKey();
  }

  if (!opened.ok()) return opened.status();
  RETURN_IF_ERROR(Check(opened->claims));
  key.info.key_id = HexEncode(opened->claims.serial);
  key.info.role = opened->claims.role;
  key.info.subject = opened->claims.subject;
  key.info.not_after = opened->claims.not_after;
  key.info.preferred = IsPersonOrService(opened->claims.role);
  return key;
}

absl::Status AudienceKeySource::Check(const Claims& claims) const {
  if (clock_->Now() >= claims.not_after) {
    return Unauthenticated("KEY_EXPIRED", "the key has expired");
  }
  if (IsRevoked(claims.serial)) {
    return Unauthenticated("KEY_REVOKED", "the key was revoked");
  }
  return check_admits_ == nullptr ? absl::OkStatus() : check_admits_();
}

void AudienceKeySource::Revoke(absl::string_view serial, absl::Time not_after) {
  MutexLock lock(&mutex_);
  absl::Time& until = revocations_.emplace(std::string(serial), not_after).first->second;
  until = std::max(until, not_after);
  ForgetExpired();
}

bool AudienceKeySource::IsRevoked(absl::string_view serial) const {
  MutexLock lock(&mutex_);
  return revocations_.count(std::string(serial)) > 0;
}

size_t AudienceKeySource::revocations() const {
  MutexLock lock(&mutex_);
  return revocations_.size();
}

// Sweeps when there are twice as many as were left the last time: constant work for each revocation, on average.
void AudienceKeySource::ForgetExpired() {
  if (revocations_.size() < sweep_at_) return;
  const absl::Time now = clock_->Now();
  std::erase_if(revocations_, [now](const auto& entry) { return now >= entry.second + kGrace; });
  sweep_at_ = std::max(kSweepAtLeast, 2 * revocations_.size());
}

}  // namespace parley::keys
