#include "clients/cli/large_code.h"

#include <gtest/gtest.h>

#include <set>

#include "absl/strings/match.h"
#include "lib/sas/code.h"

namespace parley::cli {
namespace {

TEST(LargeCode, HasAPictureOfItsOwnForEachLetterThatACodeMayHave) {
  std::set<std::string> pictures;
  for (uint32_t value = 0; value < 32; ++value) {
    // The last letter of four.
    const Secret code = sas::CodeLetters(value, sas::kBitsPerLetter);
    std::string picture;
    for (const Secret& line : LargeCode(code)) picture += std::string(line.Expose()) + "\n";
    EXPECT_TRUE(absl::StrContains(picture, "██")) << code.Expose();
    pictures.insert(picture);
  }
  EXPECT_EQ(pictures.size(), 32u);
}

TEST(LargeCode, IsSpelled) {
  EXPECT_EQ(SpacedCode(Secret::CopyOf("K7QX")).Expose(), "K 7 Q X");
  EXPECT_EQ(SpelledCode(Secret::CopyOf("A7")).Expose(), "A as in Alfa, 7 as in seven");
}

}  // namespace
}  // namespace parley::cli
