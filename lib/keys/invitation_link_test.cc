#include "lib/keys/invitation_link.h"

#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/keys/join_key.h"
#include "lib/keys/pasting.h"

namespace parley::keys {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

InvitationLink Example() {
  InvitationLink link;
  link.address = "enrolld.example:7445";
  link.organisation = "Example";
  link.invitation = std::string(32, 'a');
  link.kind = InvitationKind::kUser;
  link.identity = Base64UrlEncode(std::string(70, 'i'));
  link.secret = Secret::CopyOf(std::string(32, 's'));
  link.not_after = kNow + absl::Hours(48);
  return link;
}

std::string ExampleText() { return std::string(FormatInvitationLink(Example())->Expose()); }

absl::Status Parse(absl::string_view text) { return ParseInvitationLink(Secret::CopyOf(text), kNow).status(); }
std::string ReasonOf(absl::string_view text) { return Reason(Parse(text)); }

TEST(InvitationLink, IsALinkThatComesBack) {
  const std::string text = ExampleText();
  EXPECT_TRUE(absl::StartsWith(text, "parley://claim/pri1.")) << text;
  const auto parsed = ParseInvitationLink(Secret::CopyOf(text), kNow);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->address, "enrolld.example:7445");
  EXPECT_EQ(parsed->organisation, "Example");
  EXPECT_EQ(parsed->invitation, std::string(32, 'a'));
  EXPECT_EQ(parsed->kind, InvitationKind::kUser);
  EXPECT_EQ(parsed->identity, Example().identity);
  EXPECT_TRUE(parsed->secret == Example().secret);
  EXPECT_EQ(parsed->not_after, Example().not_after);
}

TEST(InvitationLink, ToleratesWhatMailAndPeopleDoToIt) {
  const std::string text = ExampleText();
  EXPECT_TRUE(Parse(text.substr(15)).ok()) << "without the scheme";
  EXPECT_TRUE(Parse(absl::AsciiStrToLower(text)).ok());
  EXPECT_TRUE(Parse(absl::AsciiStrToUpper(text)).ok());
  EXPECT_TRUE(Parse(absl::StrReplaceAll(text, {{".", ".\r\n "}})).ok());
}

TEST(InvitationLink, SaysHowMuchOfItIsThere) {
  const std::string text = ExampleText();
  for (size_t size = 0; size < text.size(); ++size) {
    EXPECT_EQ(JudgePastedInvitationLink(Secret::CopyOf(text.substr(0, size))), PastedPart::kSome) << size;
    // From where the scheme ends it may be missing.
    if (size < 15) continue;
    EXPECT_EQ(JudgePastedInvitationLink(Secret::CopyOf(text.substr(15, size - 15))), PastedPart::kSome) << size;
  }
  EXPECT_EQ(JudgePastedInvitationLink(Secret::CopyOf(text)), PastedPart::kWhole);
  EXPECT_EQ(JudgePastedInvitationLink(Secret::CopyOf(text.substr(15))), PastedPart::kWhole);
  EXPECT_EQ(JudgePastedInvitationLink(Secret::CopyOf("https://example.org")), PastedPart::kNone);
  EXPECT_EQ(JudgePastedInvitationLink(Secret::CopyOf("prl1.AAAA")), PastedPart::kNone);
}

TEST(InvitationLink, RefusesAnyWrongLetter) {
  const std::string text = ExampleText();
  for (size_t at = 0; at < text.size(); ++at) {
    std::string wrong = text;
    wrong[at] = text[at] == 'A' ? 'B' : 'A';
    if (absl::ascii_tolower(wrong[at]) == absl::ascii_tolower(text[at])) continue;
    EXPECT_EQ(ReasonOf(wrong), at < 15 ? "INVITATION_LINK_NOT_ONE" : "INVITATION_LINK_TYPO") << at;
  }
}

TEST(InvitationLink, AndAJoinKeyAreToldApart) {
  JoinKey key;
  key.address = "taskd.example:7443";
  key.task = "nginx";
  key.identity = Base64UrlEncode(std::string(57, 'i'));
  key.secret = Secret::CopyOf(std::string(32, 's'));
  key.verification_key = std::string(32, 'v');
  key.not_after = kNow + absl::Hours(24);
  const absl::Status joins = Parse(FormatJoinKey(key)->Expose());
  EXPECT_EQ(Reason(joins), "INVITATION_LINK_NOT_ONE");
  EXPECT_TRUE(absl::StrContains(joins.message(), "a join key")) << joins;
  const absl::Status claims = ParseJoinKey(Secret::CopyOf(ExampleText().substr(15)), kNow).status();
  EXPECT_EQ(Reason(claims), "JOIN_KEY_NOT_ONE");
  EXPECT_TRUE(absl::StrContains(claims.message(), "an invitation link")) << claims;
  EXPECT_TRUE(absl::StrContains(Parse("prc1.AAAA").message(), "a credential"));
}

TEST(InvitationLink, SaysWhenItExpiredOrIsCutOff) {
  const Secret text = *FormatInvitationLink(Example());
  const absl::Status expired = ParseInvitationLink(text, kNow + absl::Hours(48)).status();
  EXPECT_EQ(Reason(expired), "INVITATION_LINK_EXPIRED");
  EXPECT_TRUE(absl::StartsWith(expired.message(), "invitation link expired at 2023-11-16 22:13 UTC")) << expired;
  for (size_t size = 20; size < text.size(); ++size) {
    EXPECT_EQ(ReasonOf(text.Expose().substr(0, size)), "INVITATION_LINK_INCOMPLETE") << size;
  }
}

TEST(InvitationLink, RefusesToBeMadeOfFieldsThatDoNotFit) {
  const auto refused = [](auto change) {
    InvitationLink link = Example();
    change(&link);
    return Reason(FormatInvitationLink(link).status()) == "INVITATION_LINK_FIELDS";
  };
  EXPECT_TRUE(refused([](InvitationLink* link) { link->address = "no port"; }));
  EXPECT_TRUE(refused([](InvitationLink* link) { link->organisation = ""; }));
  EXPECT_TRUE(refused([](InvitationLink* link) { link->organisation = "a\nb"; }));
  EXPECT_TRUE(refused([](InvitationLink* link) { link->organisation = std::string(65, 'a'); }));
  EXPECT_TRUE(refused([](InvitationLink* link) { link->invitation = "1"; }));
  EXPECT_TRUE(refused([](InvitationLink* link) { link->invitation = std::string(32, 'A'); }));
  EXPECT_TRUE(refused([](InvitationLink* link) { link->kind = static_cast<InvitationKind>(0); }));
  EXPECT_TRUE(refused([](InvitationLink* link) { link->identity = "?"; }));
  EXPECT_TRUE(refused([](InvitationLink* link) { link->secret = Secret(31); }));
  EXPECT_TRUE(refused([](InvitationLink* link) { link->not_after = absl::InfiniteFuture(); }));
}

}  // namespace
}  // namespace parley::keys
