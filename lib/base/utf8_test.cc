#include "lib/base/utf8.h"

#include <string>

#include "gtest/gtest.h"

namespace parley {
namespace {

TEST(Utf8, DecodesTheBoundsOfEachLength) {
  const struct {
    absl::string_view text;
    uint32_t value;
  } kCases[] = {
      {"\x01", 0x1},
      {"\x7f", 0x7f},
      {"\xc2\x80", 0x80},
      {"\xdf\xbf", 0x7ff},
      {"\xe0\xa0\x80", 0x800},
      {"\xed\x9f\xbf", 0xd7ff},
      {"\xee\x80\x80", 0xe000},
      {"\xef\xbf\xbf", 0xffff},
      {"\xf0\x90\x80\x80", 0x10000},
      {"\xf4\x8f\xbf\xbf", 0x10ffff},
  };
  for (const auto& each : kCases) {
    const auto point = FirstCodePoint(std::string(each.text) + "!");
    ASSERT_TRUE(point.has_value()) << std::hex << each.value;
    EXPECT_EQ(point->value, each.value);
    EXPECT_EQ(point->bytes, each.text.size());
    EXPECT_TRUE(IsUtf8(each.text));
  }
}

TEST(Utf8, RefusesWhatIsBeyondThem) {
  // A byte that only follows, overlong forms, surrogates, beyond the last, a lead that there is not.
  for (const char* text : {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xed\xa0\x80",
                           "\xed\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff"}) {
    EXPECT_FALSE(FirstCodePoint(text).has_value()) << text;
    EXPECT_FALSE(IsUtf8(std::string("a") + text)) << text;
  }
}

TEST(Utf8, RefusesWhatIsCutShort) {
  EXPECT_FALSE(FirstCodePoint("").has_value());
  for (const absl::string_view whole : {"\xc2\x80", "\xe0\xa0\x80", "\xf0\x90\x80\x80"}) {
    for (size_t size = 1; size < whole.size(); ++size) {
      EXPECT_FALSE(FirstCodePoint(whole.substr(0, size)).has_value());
      EXPECT_FALSE(FirstCodePoint(std::string(whole.substr(0, size)) + "a").has_value());
    }
  }
  EXPECT_TRUE(IsUtf8(""));
}

}  // namespace
}  // namespace parley
