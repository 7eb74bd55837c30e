#include "lib/crypto/x25519.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "lib/base/encoding.h"
#include "lib/base/error.h"

namespace parley::crypto {
namespace {

std::string Hex(absl::string_view hex) { return *HexDecode(hex); }

AgreementKey Key(absl::string_view hex) { return *AgreementKey::FromBytes(Secret::Take(Hex(hex))); }

std::string Agreed(absl::string_view private_key, absl::string_view public_key) {
  return HexEncode(Key(private_key).Agree(Hex(public_key))->Expose());
}

// RFC 7748 section 6.1.
TEST(X25519, AgreesAsInTheRfc) {
  const char kAlice[] = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";
  const char kAlicePublic[] = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
  const char kBob[] = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb";
  const char kBobPublic[] = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f";
  const char kShared[] = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";
  EXPECT_EQ(HexEncode(Key(kAlice).public_key()), kAlicePublic);
  EXPECT_EQ(HexEncode(Key(kBob).public_key()), kBobPublic);
  EXPECT_EQ(Agreed(kAlice, kBobPublic), kShared);
  EXPECT_EQ(Agreed(kBob, kAlicePublic), kShared);
}

// RFC 7748 section 5.2: the point's top bit is set and is to be ignored.
TEST(X25519, AcceptsTheEncodingsThatTheRfcDemands) {
  const char kPoint[] = "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493";
  EXPECT_EQ(Agreed("4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d", kPoint),
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957");
  EXPECT_FALSE(IsCanonicalPoint(Hex(kPoint)));
}

TEST(X25519, RefusesPointsOfSmallOrder) {
  const AgreementKey key = AgreementKey::Generate();
  const std::vector<std::string> points = {
      "0000000000000000000000000000000000000000000000000000000000000000",
      "0100000000000000000000000000000000000000000000000000000000000000",
      "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
      "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  };
  for (const std::string& point : points) {
    EXPECT_EQ(Reason(key.Agree(Hex(point)).status()), "SMALL_ORDER") << point;
    std::string high = Hex(point);
    high[31] = static_cast<char>(high[31] | 0x80);
    EXPECT_EQ(Reason(key.Agree(high).status()), "SMALL_ORDER") << point << " with its top bit set";
  }
}

TEST(X25519, RefusesOtherLengths) {
  const AgreementKey key = AgreementKey::Generate();
  for (const size_t size : {0, 31, 33, 64}) {
    EXPECT_EQ(Reason(key.Agree(std::string(size, '\x09')).status()), "KEY_LENGTH");
    EXPECT_EQ(Reason(AgreementKey::FromBytes(Secret(size)).status()), "KEY_LENGTH");
    EXPECT_FALSE(IsCanonicalPoint(std::string(size, '\x09')));
  }
}

TEST(X25519, KnowsTheOneEncodingOfAPoint) {
  EXPECT_TRUE(IsCanonicalPoint(Hex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")));
  EXPECT_FALSE(IsCanonicalPoint(Hex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")));
  EXPECT_FALSE(IsCanonicalPoint(Hex("ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")));
  EXPECT_TRUE(IsCanonicalPoint(Hex("fffffffffffffffffffffffffffffeffffffffffffffffffffffffffffffff7f")));
  EXPECT_FALSE(IsCanonicalPoint(Hex("0900000000000000000000000000000000000000000000000000000000000080")));
  for (int i = 0; i < 32; ++i) EXPECT_TRUE(IsCanonicalPoint(AgreementKey::Generate().public_key()));
}

}  // namespace
}  // namespace parley::crypto
