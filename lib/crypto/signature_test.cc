#include "lib/crypto/signature.h"

#include <string>

#include "gtest/gtest.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"

namespace parley::crypto {
namespace {

std::string Hex(absl::string_view text) { return HexDecode(text).value(); }

// RFC 8032, section 7.1, tests 1 to 3.
TEST(SigningKey, GivesTheAnswersOfRfc8032) {
  struct {
    std::string seed, verification_key, message, signature;
  } const vectors[] = {
      {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
       "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
       "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe2"
       "465"
       "5141438e7a100b"},
      {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
       "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
       "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302ae"
       "eb0"
       "0d291612bb0c00"},
      {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
       "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
       "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28"
       "dc0"
       "27beceea1ec40a"},
  };
  for (const auto& vector : vectors) {
    const SigningKey key = *SigningKey::FromSeed(Secret::CopyOf(Hex(vector.seed)));
    EXPECT_EQ(HexEncode(key.verification_key()), vector.verification_key);
    EXPECT_EQ(HexEncode(key.Sign(Hex(vector.message))), vector.signature);
    EXPECT_TRUE(VerifySignature(key.verification_key(), Hex(vector.message), Hex(vector.signature)));
  }
}

TEST(VerifySignature, RefusesEveryFlippedBit) {
  const SigningKey key = *SigningKey::FromSeed(Secret::CopyOf(std::string(32, 's')));
  const std::string signature = key.Sign("message");
  for (size_t bit = 0; bit < 8 * signature.size(); ++bit) {
    std::string flipped = signature;
    flipped[bit / 8] ^= static_cast<char>(1 << bit % 8);
    EXPECT_FALSE(VerifySignature(key.verification_key(), "message", flipped)) << bit;
  }
  for (size_t bit = 0; bit < 256; ++bit) {
    std::string flipped = key.verification_key();
    flipped[bit / 8] ^= static_cast<char>(1 << bit % 8);
    EXPECT_FALSE(VerifySignature(flipped, "message", signature)) << bit;
  }
  EXPECT_FALSE(VerifySignature(key.verification_key(), "messagf", signature));
  EXPECT_FALSE(VerifySignature(key.verification_key(), "", signature));
}

// The same signature with the group's order added to S: RFC 8032 has it refused, or signatures could be altered.
TEST(VerifySignature, RefusesAnSThatIsNotReduced) {
  const SigningKey key = *SigningKey::FromSeed(Secret::CopyOf(std::string(32, 's')));
  std::string signature = key.Sign("message");
  const std::string order = Hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
  int carry = 0;
  for (size_t i = 0; i < 32; ++i) {
    carry += static_cast<uint8_t>(signature[32 + i]) + static_cast<uint8_t>(order[i]);
    signature[32 + i] = static_cast<char>(carry & 0xFF);
    carry >>= 8;
  }
  EXPECT_FALSE(VerifySignature(key.verification_key(), "message", signature));
}

TEST(VerifySignature, RefusesWrongLengths) {
  const SigningKey key = SigningKey::Generate();
  const std::string signature = key.Sign("");
  EXPECT_TRUE(VerifySignature(key.verification_key(), "", signature));
  EXPECT_FALSE(VerifySignature("", "", signature));
  EXPECT_FALSE(VerifySignature(key.verification_key() + "x", "", signature));
  EXPECT_FALSE(VerifySignature(key.verification_key(), "", ""));
  EXPECT_FALSE(VerifySignature(key.verification_key(), "", signature + "x"));
  EXPECT_FALSE(VerifySignature(key.verification_key(), "", signature.substr(0, 63)));
}

TEST(SigningKey, ComesBackFromItsSeed) {
  const SigningKey key = SigningKey::Generate();
  EXPECT_EQ(SigningKey::FromSeed(key.seed())->verification_key(), key.verification_key());
  EXPECT_NE(SigningKey::Generate().verification_key(), key.verification_key());
  for (const size_t size : {0u, 31u, 33u, 64u}) {
    EXPECT_EQ(Reason(SigningKey::FromSeed(Secret(size)).status()), "KEY_LENGTH") << size;
  }
}

}  // namespace
}  // namespace parley::crypto
