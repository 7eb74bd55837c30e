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
}

TEST(QrCode, IsDrawnOnlyWhenItFits) {
  EXPECT_NE(QrCode(Secret::CopyOf("prl1.ABC")), "");
  EXPECT_EQ(QrCode(Secret::CopyOf(std::string(3000, 'A'))), "");
}

}  // namespace
}  // namespace parley::cli
