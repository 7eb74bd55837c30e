#include "lib/crypto/hash.h"

#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "lib/base/encoding.h"

namespace parley::crypto {
namespace {

// FIPS 180-4's examples.
TEST(Sha256, GivesKnownAnswers) {
  EXPECT_EQ(HexEncode(Sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(HexEncode(Sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Sha256, OfPiecesEqualsThatOfTheWhole) {
  const std::string text(1000, 'a');
  for (const size_t piece : {1u, 7u, 64u, 999u, 1000u}) {
    Sha256Stream stream;
    for (size_t at = 0; at < text.size(); at += piece) stream.Update(absl::string_view(text).substr(at, piece));
    Sha256Stream moved = std::move(stream);
    EXPECT_EQ(moved.Finish(), Sha256(text)) << piece;
  }
}

// RFC 4231, test cases 1, 2, 3, 4, 6 and 7.
TEST(HmacSha256, GivesKnownAnswers) {
  struct {
    std::string key, data, mac;
  } const vectors[] = {
      {std::string(20, '\x0b'), "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
      {"Jefe", "what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
      {std::string(20, '\xaa'), std::string(50, '\xdd'),
       "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
      {*HexDecode("0102030405060708090a0b0c0d0e0f10111213141516171819"), std::string(50, '\xcd'),
       "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
      {std::string(131, '\xaa'), "Test Using Larger Than Block-Size Key - Hash Key First",
       "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
      {std::string(131, '\xaa'),
       "This is a test using a larger than block-size key and a larger than block-size data. The key needs to be "
       "hashed "
       "before being used by the HMAC algorithm.",
       "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"},
  };
  for (const auto& vector : vectors) {
    EXPECT_EQ(HexEncode(HmacSha256(Secret::CopyOf(vector.key), vector.data)), vector.mac);
  }
}

TEST(HmacSha256, TakesAnEmptyKey) {
  EXPECT_EQ(HexEncode(HmacSha256(Secret(), "")), "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

}  // namespace
}  // namespace parley::crypto
