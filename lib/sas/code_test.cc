#include "lib/sas/code.h"

#include <gtest/gtest.h>

#include <set>

#include "lib/sas/testing.h"

namespace parley::sas {
namespace {

TEST(Code, IsFourLettersHighestBitsFirst) {
  EXPECT_EQ(CodeLetters(0, kBitsPerLetter).Expose(), "AAAA");
  EXPECT_EQ(CodeLetters(0xFFFFF, kBitsPerLetter).Expose(), "9999");
  EXPECT_EQ(CodeLetters(1, kBitsPerLetter).Expose(), "AAAB");
  EXPECT_EQ(CodeLetters(31u << 15, kBitsPerLetter).Expose(), "9AAA");
}

TEST(Code, HasALetterAndAWordForEveryFiveBits) {
  std::set<std::string> letters, words;
  for (uint32_t code = 0; code < 32; ++code) {
    const char letter = CodeLetters(code, kBitsPerLetter).Expose().back();
    letters.insert(std::string(1, letter));
    words.insert(std::string(SpokenLetter(letter)));
  }
  EXPECT_EQ(letters.size(), 32u);
  EXPECT_EQ(words.size(), 32u);
  EXPECT_EQ(SpokenLetter('A'), "Alfa");
  EXPECT_EQ(SpokenLetter('N'), "November");
  EXPECT_EQ(SpokenLetter('Z'), "Zulu");
  EXPECT_EQ(SpokenLetter('2'), "two");
  EXPECT_EQ(SpokenLetter('9'), "nine");
  for (const char none : {'0', '1', 'I', 'O', 'a', '\0', ' '}) EXPECT_TRUE(SpokenLetter(none).empty());
}

TEST(Choices, AreFourThatDifferInTwoLettersOrMore) {
  SeededRandom random(1);
  for (const int bits : {kBitsPerLetter, 2}) {
    for (int i = 0; i < 5000; ++i) {
      const uint32_t right = static_cast<uint32_t>(random.Below(1u << (4 * bits)));
      const ChoiceSet choices = MakeChoices(right, bits, random.Source());
      EXPECT_EQ(choices.codes[choices.right], right);
      for (size_t a = 0; a < kChoices; ++a) {
        for (size_t b = 0; b < a; ++b) ASSERT_GE(LettersThatDiffer(choices.codes[a], choices.codes[b], bits), 2);
      }
    }
  }
}

// Chi-squared with 3 degrees of freedom: above 21.1 one time in ten thousand; the seed makes it the same each time.
TEST(Choices, PutTheRightOneAtAUniformPlace) {
  SeededRandom random(2);
  constexpr int kRounds = 20000;
  int counts[kChoices] = {};
  for (int i = 0; i < kRounds; ++i) ++counts[MakeChoices(12345, kBitsPerLetter, random.Source()).right];
  double chi_squared = 0;
  const double expected = 1.0 * kRounds / kChoices;
  for (const int count : counts) chi_squared += (count - expected) * (count - expected) / expected;
  EXPECT_LT(chi_squared, 21.1);
}

// A decoy that gave the right one away, by being near to it or by its order, would show here.
TEST(Choices, DrawDecoysUniformly) {
  SeededRandom random(3);
  constexpr int kRounds = 8000;
  int first_letters[32] = {};
  for (int i = 0; i < kRounds; ++i) {
    const ChoiceSet choices = MakeChoices(0, kBitsPerLetter, random.Source());
    for (size_t place = 0; place < kChoices; ++place) {
      if (place != choices.right) ++first_letters[choices.codes[place] >> 15];
    }
  }
  // Among codes two letters away from AAAA, a first letter A is rarer by 91 in 30784 for want of 94 of 32768 codes.
  double chi_squared = 0;
  const double expected = 3.0 * kRounds / 32;
  for (const int count : first_letters) chi_squared += (count - expected) * (count - expected) / expected;
  EXPECT_LT(chi_squared, 71.0);  // 31 degrees of freedom, p = 0.00006.
}

TEST(Codes, CannotBePrinted) {
  // A Secret has neither a stream operator nor a conversion, so a code reaches no log by accident.
  EXPECT_FALSE((std::is_convertible_v<decltype(CodeLetters(0, 5)), absl::string_view>));
}

}  // namespace
}  // namespace parley::sas
