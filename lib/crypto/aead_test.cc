#include "lib/crypto/aead.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"

namespace parley::crypto {
namespace {

std::string Hex(absl::string_view text) { return HexDecode(text).value(); }

Aead MakeAead() { return *Aead::Create(Secret::CopyOf(std::string(32, 'k'))); }
const std::string kNonce(12, 'n');

struct Vector {
  std::string key, nonce, plaintext, associated_data, sealed;
};

// RFC 8452, appendix C.2 (AES-256), and C.3, where the counter wraps.
std::vector<Vector> KnownAnswers() {
  const std::string key = "01" + std::string(62, '0');
  const std::string nonce = "03" + std::string(22, '0');
  return {
      {key, nonce, "", "", "07f5f4169bbf55a8400cd47ea6fd400f"},
      {key, nonce, "0100000000000000", "", "c2ef328e5c71c83b843122130f7364b761e0b97427e3df28"},
      {key, nonce, "010000000000000000000000", "", "9aab2aeb3faa0a34aea8e2b18ca50da9ae6559e48fd10f6e5c9ca17e"},
      {key, nonce, "0200000000000000", "01", "1de22967237a813291213f267e3b452f02d01ae33e4ec854"},
      {std::string(64, '0'), std::string(24, '0'), "000000000000000000000000000000004db923dc793ee6497c76dcc03a98e108",
       "", "f3f80f2cf0cb2dd9c5984fcda908456cc537703b5ba70324a6793a7bf218d3eaffffffff000000000000000000000000"},
  };
}

TEST(Aead, GivesTheAnswersOfRfc8452) {
  for (const Vector& vector : KnownAnswers()) {
    const Aead aead = *Aead::Create(Secret::CopyOf(Hex(vector.key)));
    EXPECT_EQ(HexEncode(aead.Seal(Hex(vector.nonce), Hex(vector.plaintext), Hex(vector.associated_data))),
              vector.sealed);
    const auto opened = aead.Open(Hex(vector.nonce), Hex(vector.sealed), Hex(vector.associated_data));
    ASSERT_TRUE(opened.ok()) << vector.sealed;
    EXPECT_EQ(HexEncode(opened->Expose()), vector.plaintext);
  }
}

TEST(Aead, RefusesEveryFlippedBit) {
  const Aead aead = MakeAead();
  const std::string data = "associated";
  const std::string sealed = aead.Seal(kNonce, "plaintext", data);
  const auto flipped = [](std::string text, size_t bit) {
    text[bit / 8] ^= static_cast<char>(1 << bit % 8);
    return text;
  };
  for (size_t bit = 0; bit < 8 * sealed.size(); ++bit) {
    EXPECT_FALSE(aead.Open(kNonce, flipped(sealed, bit), data).ok()) << bit;
  }
  for (size_t bit = 0; bit < 8 * data.size(); ++bit) {
    EXPECT_FALSE(aead.Open(kNonce, sealed, flipped(data, bit)).ok()) << bit;
  }
  for (size_t bit = 0; bit < 8 * kNonce.size(); ++bit) {
    EXPECT_FALSE(aead.Open(flipped(kNonce, bit), sealed, data).ok()) << bit;
  }
}

TEST(Aead, RefusesEveryTruncationAndExtension) {
  const Aead aead = MakeAead();
  const std::string sealed = aead.Seal(kNonce, "plaintext", "");
  for (size_t size = 0; size < sealed.size(); ++size) EXPECT_FALSE(aead.Open(kNonce, sealed.substr(0, size), "").ok());
  EXPECT_FALSE(aead.Open(kNonce, sealed + '\0', "").ok());
}

TEST(Aead, RefusesOtherKeysAndNonceLengths) {
  const std::string sealed = MakeAead().Seal(kNonce, "plaintext", "");
  const Aead other = *Aead::Create(Secret::CopyOf(std::string(32, 'x')));
  EXPECT_FALSE(other.Open(kNonce, sealed, "").ok());
  EXPECT_FALSE(MakeAead().Open("", sealed, "").ok());
  EXPECT_FALSE(MakeAead().Open(kNonce + "n", sealed, "").ok());
  for (const size_t size : {0u, 16u, 31u, 33u}) {
    EXPECT_EQ(Reason(Aead::Create(Secret(size)).status()), "KEY_LENGTH") << size;
  }
}

TEST(Aead, RefusesWithOneSentenceForEveryCause) {
  const Aead aead = MakeAead();
  const std::string sealed = aead.Seal(kNonce, "plaintext", "");
  EXPECT_EQ(aead.Open(kNonce, "", "").status(), aead.Open(kNonce, sealed, "x").status());
  EXPECT_EQ(aead.Open("", sealed, "").status(), aead.Open(kNonce, sealed, "x").status());
}

}  // namespace
}  // namespace parley::crypto
