#include "lib/keys/key_source.h"

#include <algorithm>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/crypto/certificate.h"

namespace parley::keys {
namespace {

using Want = transport::KeySource::Want;

class AudienceKeySourceTest : public testing::Test {
 protected:
  AudienceKeySourceTest() {
    std::map<uint32_t, Secret> keys;
    keys.emplace(1, Secret::CopyOf(std::string(32, 'a')));
    EXPECT_TRUE(keyring_.Replace(std::move(keys), 1).ok());
    claims_ = {access::v1::ROLE_MEMBER, "task/client", std::string(16, 's'), clock_.Now() + absl::Hours(1)};
    minted_ = *keyring_.Mint(claims_);
  }

  std::string ReasonOf(Want want = Want::kPsk) { return Reason(source_.Find(minted_.identity, want).status()); }

  FakeClock clock_;
  Keyring keyring_;
  Claims claims_;
  Keyring::Minted minted_;
  AudienceKeySource source_{&keyring_, &clock_};
};

TEST_F(AudienceKeySourceTest, FindsWhatTheHolderDerives) {
  const auto psk = source_.Find(minted_.identity, Want::kPsk);
  ASSERT_TRUE(psk.ok()) << psk.status();
  EXPECT_TRUE(psk->psk == DerivePsk(minted_.secret));
  EXPECT_TRUE(psk->public_key.empty());
  EXPECT_EQ(psk->info.key_id, HexEncode(claims_.serial));
  EXPECT_EQ(psk->info.role, access::v1::ROLE_MEMBER);
  EXPECT_EQ(psk->info.subject, "task/client");
  EXPECT_EQ(psk->info.not_after, claims_.not_after);

  const auto certificate = source_.Find(minted_.identity, Want::kPublicKey);
  ASSERT_TRUE(certificate.ok()) << certificate.status();
  EXPECT_TRUE(certificate->psk.empty());
  EXPECT_EQ(certificate->public_key, crypto::EcKey::Derive(DeriveCertificateSeed(minted_.secret))->PublicKey());
}

TEST_F(AudienceKeySourceTest, RefusesUnknownIdentities) {
  EXPECT_EQ(Reason(source_.Find("nobody", Want::kPsk).status()), "KEY_UNKNOWN");
  EXPECT_EQ(Reason(source_.Find("", Want::kPublicKey).status()), "KEY_UNKNOWN");
}

TEST_F(AudienceKeySourceTest, RefusesAKeyFromTheSecondItExpires) {
  clock_.Advance(absl::Hours(1) - absl::Seconds(1));
  EXPECT_EQ(ReasonOf(), "");
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(ReasonOf(), "KEY_EXPIRED");
  EXPECT_EQ(ReasonOf(Want::kPublicKey), "KEY_EXPIRED");
}

TEST_F(AudienceKeySourceTest, RefusesARevokedKeyAndNoOther) {
  source_.Revoke(std::string(16, 'x'), claims_.not_after);
  EXPECT_EQ(ReasonOf(), "");
  source_.Revoke(claims_.serial, claims_.not_after);
  EXPECT_TRUE(source_.IsRevoked(claims_.serial));
  EXPECT_EQ(ReasonOf(), "KEY_REVOKED");
  EXPECT_EQ(ReasonOf(Want::kPublicKey), "KEY_REVOKED");
  // A second report with an earlier end does not shorten it.
  source_.Revoke(claims_.serial, clock_.Now() - absl::Hours(100));
  EXPECT_EQ(ReasonOf(), "KEY_REVOKED");
}

TEST_F(AudienceKeySourceTest, ForgetsRevocationsOfExpiredKeysAlone) {
  source_.Revoke(claims_.serial, clock_.Now() + absl::Hours(1000));
  for (int i = 0; i < 10000; ++i) {
    source_.Revoke(absl::StrCat("serial ", i), clock_.Now() + absl::Minutes(1));
    clock_.Advance(absl::Minutes(1));
  }
  EXPECT_LT(source_.revocations(), 5000u);
  EXPECT_TRUE(source_.IsRevoked("serial 9999"));
  EXPECT_TRUE(source_.IsRevoked(claims_.serial));
}

// Medians of interleaved calls, with room for a busy machine: a short cut past the derivation would be far below half.
TEST_F(AudienceKeySourceTest, TakesAsLongToRefuseAsToFind) {
  const auto minted = [this](char serial, absl::Duration ttl) {
    return keyring_.Mint({access::v1::ROLE_MEMBER, "task/client", std::string(16, serial), clock_.Now() + ttl})
        ->identity;
  };
  std::string forged = *Base64UrlDecode(minted_.identity);
  forged.back() ^= 1;
  std::string other_epoch = *Base64UrlDecode(minted_.identity);
  other_epoch[4] = 9;
  source_.Revoke(std::string(16, 'r'), clock_.Now() + absl::Hours(1));
  const std::vector<std::string> identities = {minted_.identity,
                                               minted('e', -absl::Hours(1)),
                                               minted('r', absl::Hours(1)),
                                               Base64UrlEncode(forged),
                                               Base64UrlEncode(other_epoch),
                                               "not an identity",
                                               ""};
  for (const Want want : {Want::kPsk, Want::kPublicKey}) {
    std::vector<std::vector<absl::Duration>> samples(identities.size());
    for (int round = 0; round < 501; ++round) {
      for (size_t i = 0; i < identities.size(); ++i) {
        const absl::Time before = absl::Now();
        EXPECT_EQ(source_.Find(identities[i], want).ok(), i == 0);
        samples[i].push_back(absl::Now() - before);
      }
    }
    for (auto& sample : samples) std::nth_element(sample.begin(), sample.begin() + 250, sample.end());
    for (size_t i = 1; i < samples.size(); ++i) {
      const double ratio = absl::FDivDuration(samples[i][250], samples[0][250]);
      EXPECT_GT(ratio, 0.5) << i;
      EXPECT_LT(ratio, 2.0) << i;
    }
  }
}

TEST_F(AudienceKeySourceTest, ServesWhileKeysAreRotatedAndRevoked) {
  std::thread changes([this] {
    for (uint32_t epoch = 2; epoch < 300; ++epoch) {
      std::map<uint32_t, Secret> keys;
      keys.emplace(1, Secret::CopyOf(std::string(32, 'a')));
      keys.emplace(epoch, Secret::CopyOf(std::string(32, 'b')));
      EXPECT_TRUE(keyring_.Replace(std::move(keys), epoch).ok());
      source_.Revoke(absl::StrCat("serial ", epoch), clock_.Now());
    }
  });
  for (int i = 0; i < 2000; ++i) EXPECT_TRUE(source_.Find(minted_.identity, Want::kPsk).ok());
  changes.join();
}

TEST_F(AudienceKeySourceTest, KnowsNobodyWhileTheServiceAdmitsNobody) {
  absl::Status admits;
  AudienceKeySource source(&keyring_, &clock_, [&admits] { return admits; });
  EXPECT_TRUE(source.Admits());
  EXPECT_TRUE(source.Find(minted_.identity, Want::kPsk).ok());
  admits = Error(absl::StatusCode::kUnavailable, "KEYD_AWAY", "away");
  EXPECT_FALSE(source.Admits());
  EXPECT_EQ(Reason(source.Find(minted_.identity, Want::kPsk).status()), "KEYD_AWAY");
  EXPECT_EQ(Reason(source.Find("nobody", Want::kPsk).status()), "KEY_UNKNOWN");
}

}  // namespace
}  // namespace parley::keys
