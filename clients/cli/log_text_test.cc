#include "clients/cli/log_text.h"

#include <gtest/gtest.h>

namespace parley::cli {
namespace {

TEST(LogText, IsOneSentence) {
  EXPECT_EQ(LogText({.level = "warning", .message = "it is so"}), "parley: warning: it is so");
  EXPECT_EQ(LogText({.level = "warning", .message = "could not look", .fields = {{"error", "no permission"}}}),
            "parley: warning: could not look: no permission");
  EXPECT_EQ(LogText({.level = "warning",
                     .message = "it was set aside",
                     .fields = {{"path", "/a/b"}, {"error", "it is mounted"}, {"target", "/a"}, {"file", ""}}}),
            "parley: warning: it was set aside (path /a/b, target /a): it is mounted");
  EXPECT_EQ(LogText({.level = "error", .message = "it is lost"}), "parley: it is lost");
}

TEST(LogText, IsFitForATerminal) {
  EXPECT_EQ(LogText({.level = "info", .message = "a", .fields = {{"path", "/b\x1b[2J"}}}), "parley: a (path /b?[2J)");
}

}  // namespace
}  // namespace parley::cli
