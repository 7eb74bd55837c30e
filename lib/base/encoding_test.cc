#include "lib/base/encoding.h"

#include <string>

#include "gtest/gtest.h"

namespace parley {
namespace {

std::string AllBytes(size_t size) {
  std::string bytes;
  for (size_t i = 0; i < size; ++i) bytes.push_back(static_cast<char>(i * 37 + 11));
  return bytes;
}

TEST(Encoding, ComesBackForEveryLength) {
  for (size_t size = 0; size < 300; ++size) {
    const std::string bytes = AllBytes(size);
    EXPECT_EQ(Base64UrlDecode(Base64UrlEncode(bytes)), bytes) << size;
    EXPECT_EQ(Base32Decode(Base32Encode(bytes)), bytes) << size;
    EXPECT_EQ(HexDecode(HexEncode(bytes)), bytes) << size;
  }
}

// RFC 4648, section 10, without padding; the letters of base64url from section 5.
TEST(Base64Url, GivesKnownAnswers) {
  EXPECT_EQ(Base64UrlEncode("foobar"), "Zm9vYmFy");
  EXPECT_EQ(Base64UrlEncode("fooba"), "Zm9vYmE");
  EXPECT_EQ(Base64UrlEncode("foob"), "Zm9vYg");
  EXPECT_EQ(Base64UrlEncode("\xfb\xff"), "-_8");
}

TEST(Base32, GivesKnownAnswers) {
  EXPECT_EQ(
      Base32Encode(std::string("\x00\x44\x32\x14\xc7\x42\x54\xb6\x35\xcf\x84\x65\x3a\x56\xd7\xc6\x75\xbe\x77\xdf", 20)),
      "0123456789ABCDEFGHJKMNPQRSTVWXYZ");
}

TEST(Base32, ReadsEitherCaseAndLookAlikes) {
  EXPECT_EQ(Base32Decode("abcdefgh"), Base32Decode("ABCDEFGH"));
  EXPECT_EQ(Base32Decode("OIL0oil0"), Base32Decode("01100110"));
  EXPECT_FALSE(Base32Decode("UUUUUUUU").has_value());
}

TEST(Base32, GivesALettersValue) {
  for (int value = 0; value < 32; ++value) EXPECT_EQ(Base32Value(Base32Letter(value)), value);
  EXPECT_EQ(Base32Value('z'), 31);
  EXPECT_EQ(Base32Value('o'), 0);
  for (const char letter : {'U', 'u', '.', ' ', '\0', '\xff'}) EXPECT_EQ(Base32Value(letter), -1);
}

// One value has one text: otherwise a changed identity could still be the same key.
TEST(Encoding, RefusesEveryOtherTextOfAValue) {
  EXPECT_TRUE(Base64UrlDecode("Zg").has_value());
  for (const char* text : {"Zh", "Zg=", "Zg==", "Z", " Zg", "Zg\n", "Z+", "Z/"}) {
    EXPECT_FALSE(Base64UrlDecode(text).has_value()) << text;
  }
  EXPECT_TRUE(Base32Decode("CR").has_value());
  for (const char* text : {"CS", "C", "CRC", "CR=", "C-R"}) EXPECT_FALSE(Base32Decode(text).has_value()) << text;
  for (const char* text : {"0", "0A", "gg", "0x", " 00"}) EXPECT_FALSE(HexDecode(text).has_value()) << text;
}

TEST(Encoding, CountsTheTextsThatItTakes) {
  // Among the 64^2 texts of two letters, 256 stand for a byte.
  int taken = 0;
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) {
      taken += Base64UrlDecode(std::string{static_cast<char>(a), static_cast<char>(b)}).has_value();
    }
  }
  EXPECT_EQ(taken, 256);
}

}  // namespace
}  // namespace parley
