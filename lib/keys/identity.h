// Identities and the keys that follow from them. docs/protocol/keys.md has every byte.
//
// An identity is sealed claims: opaque on the wire, unforgeable, and enough to authorize without a look-up. From
// it and the audience's key follow the secret of its holder, and from that secret the pre-shared key of TLS 1.2
// and the certificate key of TLS 1.3. The first two lines are what a service does, the last two what both do:
//
//   claims   = AES-256-GCM-SIV open(HKDF(K_aud, "parley v1 identity"), identity)
//   secret   = HKDF(K_aud, "parley v1 secret" ‖ identity)                       32 bytes
//   psk      = HKDF(secret, "parley v1 tls12-psk")                              32 bytes
//   p256 key = EC_KEY_derive_from_secret(HKDF(secret, "parley v1 tls13-cert"))  32 bytes in
#ifndef PARLEY_LIB_KEYS_IDENTITY_H_
#define PARLEY_LIB_KEYS_IDENTITY_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/base/mutex.h"
#include "lib/base/secret.h"
#include "lib/crypto/aead.h"
#include "parley/access/v1/access.pb.h"

namespace parley::keys {

inline constexpr size_t kMaxIdentityBytes = 128;
inline constexpr size_t kSerialBytes = 16;
inline constexpr size_t kMaxSubjectBytes = 50;
inline constexpr size_t kSecretBytes = 32;

// The audiences: the services that have keys of their own.
inline constexpr absl::string_view kTaskd = "taskd";
inline constexpr absl::string_view kEnrolld = "enrolld";
inline constexpr absl::string_view kKeyd = "keyd";

struct Claims {
  access::v1::Role role = access::v1::ROLE_UNSPECIFIED;
  // Whom the identity stands for. A joiner's is the task's id, a member's "{task}/{participant's 13 characters}".
  std::string subject;
  // 16 random bytes.
  std::string serial;
  // When the key ends, in whole seconds; minting rounds down.
  absl::Time not_after;
};

// Returns K_aud = HKDF(K_root, "parley v1 audience" ‖ audience), 32 bytes.
Secret DeriveAudienceKey(const Secret& root, absl::string_view audience);

// Return the pre-shared key of TLS 1.2, and the input of EcKey::Derive for TLS 1.3.
Secret DerivePsk(const Secret& secret);
Secret DeriveCertificateSeed(const Secret& secret);

// The keys of one audience: every live epoch, one of them primary.
//
// Threads: all methods may be called from any thread.
class Keyring {
 public:
  struct Minted {
    std::string identity;
    Secret secret;
  };

  struct Opened {
    Claims claims;
    Secret secret;
  };

  Keyring();
  Keyring(const Keyring&) = delete;
  Keyring& operator=(const Keyring&) = delete;

  // Replaces all epochs. Returns INVALID_ARGUMENT (KEYRING) unless every key has 32 bytes and the primary is among
  // them.
  absl::Status Replace(std::map<uint32_t, Secret> keys, uint32_t primary);
  uint32_t primary_epoch() const { return epochs()->primary; }

  // Seals the claims under the primary epoch. The same claims give the same identity, so a service that stored claims
  // can make their key again. Returns INVALID_ARGUMENT (CLAIMS) for a role, subject, serial or time that does not fit;
  // FAILED_PRECONDITION (KEYRING_EMPTY) if there is no epoch yet.
  absl::StatusOr<Minted> Mint(const Claims& claims) const;
  // Mints under a given epoch. Returns INVALID_ARGUMENT (CLAIMS), or NOT_FOUND (EPOCH_RETIRED) if the epoch is not
  // live.
  absl::StatusOr<Minted> Mint(const Claims& claims, uint32_t epoch) const;

  // Returns the claims that are sealed in an identity of this audience, and its holder's secret, in a time that does
  // not tell a good identity from another: whatever is wrong with it, something is opened and a secret is derived. Does
  // not look at not_after. Returns UNAUTHENTICATED (KEY_UNKNOWN), with one sentence for every cause.
  absl::StatusOr<Opened> Open(absl::string_view identity) const;

 private:
  struct Epoch {
    Secret key;
    crypto::Aead aead;
  };
  struct Epochs {
    std::map<uint32_t, Epoch> live;
    uint32_t primary = 0;
  };
  static Epoch MakeEpoch(Secret key);
  static absl::StatusOr<Minted> MintUnder(const Claims& claims, uint32_t number, const Epoch& epoch);
  std::shared_ptr<const Epochs> epochs() const;

  // Stands in for an epoch that does not exist. It is random, so that nothing opens under it.
  const Epoch decoy_;
  mutable Mutex mutex_;
  std::shared_ptr<const Epochs> epochs_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace parley::keys

#endif  // PARLEY_LIB_KEYS_IDENTITY_H_
