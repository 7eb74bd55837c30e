#include "clients/cli/text_diff.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace parley::cli {
namespace {

using Hunks = std::vector<std::string>;

// "1\n2\n…", with some lines in place of their number.
std::string Numbers(int last, const std::vector<std::pair<int, std::string>>& instead = {}) {
  std::string text;
  for (int i = 1; i <= last; ++i) {
    std::string line = absl::StrCat(i, "\n");
    for (const auto& [number, other] : instead) {
      if (number == i) line = other;
    }
    text += line;
  }
  return text;
}

TEST(TextDiff, OfEqualTextsIsEmpty) {
  EXPECT_EQ(*UnifiedDiff("", ""), Hunks());
  EXPECT_EQ(*UnifiedDiff("a\nb", "a\nb"), Hunks());
}

TEST(TextDiff, ShowsLinesAroundAChange) {
  EXPECT_EQ(*UnifiedDiff(Numbers(10), Numbers(10, {{5, "five\n"}})),
            (Hunks{"@@ -2,7 +2,7 @@", " 2", " 3", " 4", "-5", "+five", " 6", " 7", " 8"}));
  EXPECT_EQ(*UnifiedDiff(Numbers(3), Numbers(3, {{1, ""}})), (Hunks{"@@ -1,3 +1,2 @@", "-1", " 2", " 3"}));
  EXPECT_EQ(*UnifiedDiff(Numbers(3), Numbers(4)), (Hunks{"@@ -1,3 +1,4 @@", " 1", " 2", " 3", "+4"}));
}

TEST(TextDiff, JoinsChangesThatAreNear) {
  const auto near = UnifiedDiff(Numbers(20), Numbers(20, {{5, "a\n"}, {12, "b\n"}}));
  EXPECT_EQ(near->size(), 1u + 16u);
  EXPECT_EQ(near->front(), "@@ -2,14 +2,14 @@");
  const auto far = UnifiedDiff(Numbers(20), Numbers(20, {{5, "a\n"}, {13, "b\n"}}));
  EXPECT_EQ(far->size(), 2u * 9u);
  EXPECT_EQ((*far)[0], "@@ -2,7 +2,7 @@");
  EXPECT_EQ((*far)[9], "@@ -10,7 +10,7 @@");
}

TEST(TextDiff, OfWhatWasEmptyCountsFromZero) {
  EXPECT_EQ(*UnifiedDiff("", "a\n"), (Hunks{"@@ -0,0 +1,1 @@", "+a"}));
  EXPECT_EQ(*UnifiedDiff("a\n", ""), (Hunks{"@@ -1,1 +0,0 @@", "-a"}));
}

TEST(TextDiff, TellsALineWithoutItsEnd) {
  EXPECT_EQ(*UnifiedDiff("a\nb", "a\nb\n"),
            (Hunks{"@@ -1,2 +1,2 @@", " a", "-b", "\\ No newline at end of file", "+b"}));
}

TEST(TextDiff, GivesUpWhereItWouldTakeLong) {
  const std::string many = Numbers(2500), others = Numbers(2500, {{1, "x\n"}, {2500, "y\n"}});
  EXPECT_FALSE(UnifiedDiff(many, others).has_value());
  // Much that is equal does no harm.
  EXPECT_TRUE(UnifiedDiff(many, Numbers(2500, {{1200, "x\n"}, {1300, "y\n"}})).has_value());
}

TEST(TextDiff, IsOfSmallTextsAlone) {
  EXPECT_TRUE(IsSmallText(""));
  EXPECT_TRUE(IsSmallText("größer\n"));
  EXPECT_FALSE(IsSmallText("\xff"));
  EXPECT_FALSE(IsSmallText(std::string("a\0b", 3)));
  EXPECT_FALSE(IsSmallText(std::string(kMostDiffBytes + 1, 'a')));
}

}  // namespace
}  // namespace parley::cli
