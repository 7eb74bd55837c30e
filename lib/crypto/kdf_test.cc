#include "lib/crypto/kdf.h"

#include <set>

#include "gtest/gtest.h"
#include "lib/base/encoding.h"

namespace parley::crypto {
namespace {

// RFC 5869, test case 3: the one without salt and info. Others are in tests/vectors.
TEST(Hkdf, GivesKnownAnswers) {
  EXPECT_EQ(HexEncode(Hkdf(Secret::CopyOf(std::string(22, '\x0b')), "", 42).Expose()),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

TEST(Hkdf, DependsOnSecretInfoAndNotOnTheSizeAskedFor) {
  const Secret secret = Secret::CopyOf(std::string(32, 'k'));
  const Secret other = Secret::CopyOf(std::string(32, 'l'));
  EXPECT_FALSE(Hkdf(secret, "a", 32) == Hkdf(secret, "b", 32));
  EXPECT_FALSE(Hkdf(secret, "a", 32) == Hkdf(other, "a", 32));
  EXPECT_EQ(Hkdf(secret, "a", 8160).Expose().substr(0, 32), Hkdf(secret, "a", 32).Expose());
}

TEST(HkdfDeathTest, RefusesMoreThanTheHashCanGive) { EXPECT_DEATH(Hkdf(Secret::CopyOf("k"), "", 8161), "8160"); }

TEST(RandomBytes, HaveTheirSizeAndDiffer) {
  EXPECT_EQ(RandomBytes(0), "");
  EXPECT_EQ(RandomBytes(32).size(), 32u);
  EXPECT_NE(RandomBytes(32), RandomBytes(32));
  EXPECT_FALSE(RandomSecret(32) == RandomSecret(32));
}

TEST(RandomUuid, HasTheFormOfVersion4) {
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    const std::string uuid = RandomUuid();
    ASSERT_EQ(uuid.size(), 36u);
    for (const size_t dash : {8, 13, 18, 23}) EXPECT_EQ(uuid[dash], '-') << uuid;
    EXPECT_EQ(uuid[14], '4') << uuid;
    EXPECT_NE(std::string("89ab").find(uuid[19]), std::string::npos) << uuid;
    EXPECT_TRUE(seen.insert(uuid).second) << uuid;
  }
}

}  // namespace
}  // namespace parley::crypto
