#include "lib/base/log.h"

#include <string>

#include "absl/strings/match.h"
#include "gtest/gtest.h"

namespace parley {
namespace {

TEST(Log, WritesOneJsonObjectALine) {
  testing::internal::CaptureStderr();
  LogWarning("a \"quoted\"\nmessage", {{"key", "va\\lue"}, {"other", ""}});
  const std::string line = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(absl::StartsWith(line, "{\"time\":\"")) << line;
  EXPECT_TRUE(absl::StrContains(line, "\"level\":\"warning\"")) << line;
  EXPECT_TRUE(
      absl::EndsWith(line, "\"message\":\"a \\\"quoted\\\"\\u000amessage\",\"key\":\"va\\\\lue\",\"other\":\"\"}\n"))
      << line;
  EXPECT_EQ(line.find('\n'), line.size() - 1);
}

TEST(JsonString, EscapesWhatJsonForbids) {
  EXPECT_EQ(JsonString(""), "\"\"");
  EXPECT_EQ(JsonString(absl::string_view("\0\x1f", 2)), "\"\\u0000\\u001f\"");
  EXPECT_EQ(JsonString("\"\\"), "\"\\\"\\\\\"");
}

TEST(JsonString, KeepsUtf8AndReplacesWhatIsNot) {
  EXPECT_EQ(JsonString("Bücher €😀"), "\"Bücher €😀\"");
  // A lone continuation, an overlong '/', a surrogate, above U+10FFFF, a sequence cut off.
  EXPECT_EQ(JsonString("\x80"), "\"\\ufffd\"");
  EXPECT_EQ(JsonString("\xc0\xaf"), "\"\\ufffd\\ufffd\"");
  EXPECT_EQ(JsonString("\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\"");
  EXPECT_EQ(JsonString("\xf4\x90\x80\x80"), "\"\\ufffd\\ufffd\\ufffd\\ufffd\"");
  EXPECT_EQ(JsonString("\xe2\x82"), "\"\\ufffd\\ufffd\"");
}

}  // namespace
}  // namespace parley
