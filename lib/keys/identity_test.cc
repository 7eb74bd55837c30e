#include "lib/keys/identity.h"

#include <map>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "lib/base/encoding.h"

namespace parley::keys {
namespace {

const absl::Time kNotAfter = absl::FromUnixSeconds(1'800'000'000);

Secret KeyOf(char letter) { return Secret::CopyOf(std::string(32, letter)); }

void Load(Keyring* keyring, std::map<uint32_t, char> letters, uint32_t primary) {
  std::map<uint32_t, Secret> keys;
  for (const auto& [epoch, letter] : letters) keys.emplace(epoch, KeyOf(letter));
  ASSERT_TRUE(keyring->Replace(std::move(keys), primary).ok());
}

Claims MemberClaims() {
  return {access::v1::ROLE_MEMBER, "nginx-tls-7k3q/0123456789abc", std::string(16, 's'), kNotAfter};
}

class KeyringTest : public testing::Test {
 protected:
  KeyringTest() { Load(&keyring_, {{1, 'a'}, {2, 'b'}}, 2); }
  Keyring keyring_;
};

TEST_F(KeyringTest, OpensWhatItMinted) {
  for (int role = access::v1::ROLE_ADMIN; role <= access::v1::ROLE_INVITEE; ++role) {
    Claims claims = MemberClaims();
    claims.role = static_cast<access::v1::Role>(role);
    const auto minted = keyring_.Mint(claims);
    ASSERT_TRUE(minted.ok()) << minted.status();
    const auto opened = keyring_.Open(minted->identity);
    ASSERT_TRUE(opened.ok()) << opened.status();
    EXPECT_EQ(opened->claims.role, claims.role);
    EXPECT_EQ(opened->claims.subject, claims.subject);
    EXPECT_EQ(opened->claims.serial, claims.serial);
    EXPECT_EQ(opened->claims.not_after, claims.not_after);
    EXPECT_TRUE(opened->secret == minted->secret);
  }
}

TEST_F(KeyringTest, MintsTheSameForTheSameClaims) {
  const auto first = keyring_.Mint(MemberClaims());
  const auto second = keyring_.Mint(MemberClaims());
  EXPECT_EQ(first->identity, second->identity);
  EXPECT_TRUE(first->secret == second->secret);
  EXPECT_NE(first->identity, keyring_.Mint(MemberClaims(), 1)->identity);
  Claims other = MemberClaims();
  other.serial[15] = 't';
  EXPECT_NE(first->identity, keyring_.Mint(other)->identity);
}

TEST_F(KeyringTest, FitsTheLongestSubjectIntoAnIdentity) {
  Claims claims = MemberClaims();
  claims.subject = std::string(kMaxSubjectBytes, 'x');
  const auto minted = keyring_.Mint(claims);
  ASSERT_TRUE(minted.ok());
  EXPECT_LE(minted->identity.size(), kMaxIdentityBytes);
  EXPECT_EQ(keyring_.Open(minted->identity)->claims.subject, claims.subject);
}

TEST_F(KeyringTest, RefusesClaimsThatDoNotFit) {
  const auto refused = [this](auto change) {
    Claims claims = MemberClaims();
    change(&claims);
    return keyring_.Mint(claims).status().code() == absl::StatusCode::kInvalidArgument;
  };
  EXPECT_TRUE(refused([](Claims* claims) { claims->subject = ""; }));
  EXPECT_TRUE(refused([](Claims* claims) { claims->subject = std::string(51, 'x'); }));
  EXPECT_TRUE(refused([](Claims* claims) { claims->serial = "short"; }));
  EXPECT_TRUE(refused([](Claims* claims) { claims->role = access::v1::ROLE_UNSPECIFIED; }));
  EXPECT_TRUE(refused([](Claims* claims) { claims->role = static_cast<access::v1::Role>(77); }));
  EXPECT_TRUE(refused([](Claims* claims) { claims->not_after = absl::InfiniteFuture(); }));
  EXPECT_TRUE(refused([](Claims* claims) { claims->not_after = absl::FromUnixSeconds(-1); }));
}

TEST_F(KeyringTest, RefusesEveryFlippedBitOfAnIdentity) {
  const std::string identity = keyring_.Mint(MemberClaims())->identity;
  const std::string raw = *Base64UrlDecode(identity);
  for (size_t bit = 0; bit < 8 * raw.size(); ++bit) {
    std::string flipped = raw;
    flipped[bit / 8] ^= static_cast<char>(1 << bit % 8);
    EXPECT_FALSE(keyring_.Open(Base64UrlEncode(flipped)).ok()) << bit;
  }
}

TEST_F(KeyringTest, RefusesEveryOtherByteInEveryPlaceOfAnIdentity) {
  const std::string identity = keyring_.Mint(MemberClaims())->identity;
  for (size_t at = 0; at < identity.size(); ++at) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string changed = identity;
      changed[at] = static_cast<char>(byte);
      if (changed != identity) EXPECT_FALSE(keyring_.Open(changed).ok()) << at << " " << byte;
    }
  }
}

TEST_F(KeyringTest, RefusesTruncatedExtendedAndStrangeIdentities) {
  const std::string identity = keyring_.Mint(MemberClaims())->identity;
  for (size_t size = 0; size < identity.size(); ++size) EXPECT_FALSE(keyring_.Open(identity.substr(0, size)).ok());
  for (const std::string& strange : {identity + "A", identity + "=", " " + identity, std::string(128, 'A'),
                                     std::string(129, 'A'), std::string(100000, 'A'), std::string(3, '\0')}) {
    EXPECT_FALSE(keyring_.Open(strange).ok());
  }
}

TEST_F(KeyringTest, RefusesIdentitiesOfAnotherAudienceRootOrEpoch) {
  const Secret root = KeyOf('r');
  std::map<uint32_t, Secret> keys;
  keys.emplace(1, DeriveAudienceKey(root, kTaskd));
  Keyring taskd, keyd, other;
  ASSERT_TRUE(taskd.Replace(std::move(keys), 1).ok());
  keys.clear();
  keys.emplace(1, DeriveAudienceKey(root, kKeyd));
  ASSERT_TRUE(keyd.Replace(std::move(keys), 1).ok());
  keys.clear();
  keys.emplace(2, DeriveAudienceKey(root, kTaskd));  // The right key under the wrong number.
  ASSERT_TRUE(other.Replace(std::move(keys), 2).ok());

  const std::string identity = taskd.Mint(MemberClaims())->identity;
  EXPECT_TRUE(taskd.Open(identity).ok());
  EXPECT_FALSE(keyd.Open(identity).ok());
  EXPECT_FALSE(other.Open(identity).ok());
  std::string raw = *Base64UrlDecode(identity);
  raw[4] = 2;
  EXPECT_FALSE(other.Open(Base64UrlEncode(raw)).ok());
}

TEST_F(KeyringTest, GivesOneErrorForEveryCause) {
  const std::string identity = keyring_.Mint(MemberClaims())->identity;
  const absl::Status malformed = keyring_.Open("?").status();
  EXPECT_EQ(malformed.code(), absl::StatusCode::kUnauthenticated);
  std::string raw = *Base64UrlDecode(identity);
  raw.back() ^= 1;
  EXPECT_EQ(keyring_.Open(Base64UrlEncode(raw)).status(), malformed);
  raw[4] = 9;
  EXPECT_EQ(keyring_.Open(Base64UrlEncode(raw)).status(), malformed);
  EXPECT_EQ(keyring_.Open("").status(), malformed);
}

TEST_F(KeyringTest, OpensEarlierEpochsUntilTheyAreRetired) {
  const std::string old = keyring_.Mint(MemberClaims(), 1)->identity;
  EXPECT_TRUE(keyring_.Open(old).ok());
  Load(&keyring_, {{2, 'b'}, {3, 'c'}}, 3);
  EXPECT_EQ(keyring_.primary_epoch(), 3u);
  EXPECT_FALSE(keyring_.Open(old).ok());
  EXPECT_EQ(keyring_.Mint(MemberClaims(), 1).status().code(), absl::StatusCode::kNotFound);
}

TEST(Keyring, RefusesBadKeysAndKeepsTheOldOnes) {
  Keyring keyring;
  EXPECT_EQ(keyring.Mint(MemberClaims()).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(keyring.Open(std::string(100, 'A')).ok());
  Load(&keyring, {{1, 'a'}}, 1);
  const std::string identity = keyring.Mint(MemberClaims())->identity;
  std::map<uint32_t, Secret> keys;
  keys.emplace(1, Secret(31));
  EXPECT_FALSE(keyring.Replace(std::move(keys), 1).ok());
  keys.clear();
  keys.emplace(1, KeyOf('x'));
  EXPECT_FALSE(keyring.Replace(std::move(keys), 2).ok());
  EXPECT_FALSE(keyring.Replace({}, 0).ok());
  EXPECT_TRUE(keyring.Open(identity).ok());
}

TEST(Derivation, NeverSharesBytesBetweenTwoUses) {
  const Secret secret = KeyOf('s');
  EXPECT_FALSE(DerivePsk(secret) == DeriveCertificateSeed(secret));
  EXPECT_FALSE(DerivePsk(secret) == secret);
  EXPECT_FALSE(DeriveAudienceKey(secret, kTaskd) == DeriveAudienceKey(secret, kKeyd));
}

}  // namespace
}  // namespace parley::keys
