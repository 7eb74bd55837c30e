#include "services/enrolld/domain/mail_text.h"

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"

namespace parley::enrolld {
namespace {

MailText Example() {
  MailText text;
  text.from = "parley@example.com";
  text.to = "bob@example.org";
  text.organisation = "Example";
  text.creator = "alice";
  text.user_name = "bob";
  text.expire_time = absl::FromUnixSeconds(1'700'100'000);
  text.time = absl::FromUnixSeconds(1'700'000'000);
  text.message_id = "1234";
  return text;
}

std::string Write(const MailText& text) {
  return std::string(WriteMail(text, Secret::CopyOf("parley://claim/pri1.ABC")).Expose());
}

TEST(MailText, CarriesTheLinkInBothParts) {
  const std::string mail = Write(Example());
  EXPECT_TRUE(absl::StartsWith(mail, "Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n")) << mail;
  EXPECT_TRUE(absl::StrContains(mail, "\r\nSubject: alice invites you to Example\r\n")) << mail;
  EXPECT_TRUE(absl::StrContains(mail, "\r\n\r\nparley://claim/pri1.ABC\r\n\r\n"));
  EXPECT_TRUE(absl::StrContains(mail, "<code>parley://claim/pri1.ABC</code>"));
  EXPECT_TRUE(absl::StrContains(mail, "2023-11-16 02:00 UTC"));
}

TEST(MailText, EveryLineEndsAsMailDoes) {
  for (const absl::string_view line : absl::StrSplit(Write(Example()), "\r\n")) {
    EXPECT_FALSE(absl::StrContains(line, "\r") || absl::StrContains(line, "\n")) << line;
    EXPECT_LE(line.size(), 998u);
  }
}

TEST(MailText, NoFieldForgesAHeaderOrAnElement) {
  MailText text = Example();
  text.organisation = "Evil\r\nBcc: eve@example.net\r\n\r\n<script>alert(1)</script>";
  text.creator = "a\nX-Other: 1";
  text.to = "bob@example.org>\r\nBcc: <eve@example.net";
  const std::string mail = Write(text);
  const std::vector<std::string> parts = absl::StrSplit(mail, absl::MaxSplits("\r\n\r\n", 1));
  for (const absl::string_view line : absl::StrSplit(parts[0], "\r\n")) {
    EXPECT_FALSE(absl::StartsWith(line, "Bcc") || absl::StartsWith(line, "X-Other")) << line;
  }
  const std::vector<std::string> bodies = absl::StrSplit(mail, absl::MaxSplits("text/html", 1));
  EXPECT_FALSE(absl::StrContains(bodies[1], "<script>")) << bodies[1];
}

}  // namespace
}  // namespace parley::enrolld
