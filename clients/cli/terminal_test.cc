#include "clients/cli/terminal.h"

#include <gtest/gtest.h>

namespace parley::cli {
namespace {

TEST(TextOfOthers, CannotSteerTheTerminal) {
  EXPECT_EQ(Printable("\x1b[2J\x07 gone\r"), "?[2J? gone?");
  EXPECT_EQ(Printable("\xc2\x9b"
                      "31m"),
            "?31m");
  EXPECT_EQ(Printable("line 1\n\tline 2 — ü"), "line 1\n\tline 2 — ü");
  // Nor hide in it: a mark of direction, a zero width space, an escape behind half a character.
  EXPECT_EQ(Printable("user\u202Enimda"), "user\\u{202e}nimda");
  EXPECT_EQ(Printable("web\u200B-1"), "web\\u{200b}-1");
  EXPECT_EQ(Printable("\xe2\x1b[2J"), "??[2J");
}

TEST(Columns, AreCountedByCharactersAndFilledNoFurther) {
  EXPECT_EQ(ColumnsOf("web-1 — ü …"), 11u);
  EXPECT_EQ(ColumnsOf("日本"), 4u);
  EXPECT_EQ(ColumnsOf("e\u0301"), 1u);
  EXPECT_EQ(ColumnsOf("\xff\xf0\x9f"), 3u) << "what is no UTF-8";
  EXPECT_EQ(FitColumns("web-1", 5), "web-1");
  EXPECT_EQ(FitColumns("web-17", 5), "web-…");
  EXPECT_EQ(FitColumns("日本語", 5), "日本…");
  EXPECT_EQ(FitColumns("日本語", 4), "日…");
  EXPECT_EQ(FitColumns("x", 0), "");
}

TEST(QrCode, IsDrawnOnlyWhenItFits) {
  EXPECT_NE(QrCode(Secret::CopyOf("prl1.ABC")), "");
  EXPECT_EQ(QrCode(Secret::CopyOf(std::string(3000, 'A'))), "");
}

}  // namespace
}  // namespace parley::cli
