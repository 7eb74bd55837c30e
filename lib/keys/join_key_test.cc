#include "lib/keys/join_key.h"

#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/keys/pasting.h"

namespace parley::keys {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);
constexpr absl::string_view kAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

JoinKey Example() {
  JoinKey key;
  key.address = "taskd.example:7443";
  key.task = "nginx-tls-7k3q";
  key.identity = Base64UrlEncode(std::string(57, 'i'));
  key.secret = Secret::CopyOf(std::string(32, 's'));
  key.verification_key = std::string(32, 'v');
  key.not_after = kNow + absl::Hours(24);
  return key;
}

std::string ExampleText() { return std::string(FormatJoinKey(Example())->Expose()); }

absl::Status Parse(absl::string_view text) { return ParseJoinKey(Secret::CopyOf(text), kNow).status(); }
std::string ReasonOf(absl::string_view text) { return Reason(Parse(text)); }

TEST(JoinKey, ComesBackFromItsText) {
  const auto parsed = ParseJoinKey(*FormatJoinKey(Example()), kNow);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->address, "taskd.example:7443");
  EXPECT_EQ(parsed->task, "nginx-tls-7k3q");
  EXPECT_EQ(parsed->identity, Example().identity);
  EXPECT_EQ(parsed->secret.Expose(), std::string(32, 's'));
  EXPECT_EQ(parsed->verification_key, std::string(32, 'v'));
  EXPECT_EQ(parsed->not_after, kNow + absl::Hours(24));
}

TEST(JoinKey, HoldsTheLongestAndShortestFields) {
  JoinKey key = Example();
  key.address = absl::StrCat(std::string(250, 'a'), ":7443");
  key.task = std::string(36, 't');
  key.identity = std::string(128, 'i');
  EXPECT_EQ(ParseJoinKey(*FormatJoinKey(key), kNow)->address, key.address);
  key.address = "a:1";
  key.task = "t";
  key.identity = "AQ";
  EXPECT_EQ(ParseJoinKey(*FormatJoinKey(key), kNow)->task, "t");
}

TEST(JoinKey, IsTakenFoldedQuotedAndTypeset) {
  const std::string text = ExampleText();
  std::string folded, spaced;
  for (size_t at = 0; at < text.size(); at += 76) absl::StrAppend(&folded, "> ", text.substr(at, 76), "\r\n");
  for (const char c : text) absl::StrAppend(&spaced, std::string(1, c), "\u00a0\u200b");
  std::string mailed, continued;
  for (size_t at = 0; at < text.size(); at += 70) absl::StrAppend(&mailed, text.substr(at, 70), "=\r\n");
  for (size_t at = 0; at < text.size(); at += 70) absl::StrAppend(&continued, "| ", text.substr(at, 70), "\\\n");
  for (const std::string& given :
       {folded, spaced, absl::StrCat("\"", text, "\""), absl::StrCat("'", folded, "'"),
        absl::StrCat("\u2018", text, "\u2019"), absl::StrCat("\u201c", folded, "\u201d\n"),
        absl::StrCat("\u00ab ", text, " \u00bb"), absl::StrCat("\ufeff", text), absl::StrCat("<", text, ">"), mailed,
        continued, absl::StrCat("**", text, "**"), absl::StrCat("\u2068", text, "\u2069"),
        absl::StrCat("\u200e", text, "\u202c"), absl::StrCat("\x1b[200~", text, "\x1b[201~\n")}) {
    EXPECT_EQ(ReasonOf(given), "") << given;
    EXPECT_EQ(JudgePastedJoinKey(Secret::CopyOf(given)), PastedPart::kWhole) << given;
  }
}

TEST(JoinKey, SaysHowMuchOfItIsThere) {
  const std::string text = ExampleText();
  for (size_t size = 0; size < text.size(); ++size) {
    EXPECT_EQ(JudgePastedJoinKey(Secret::CopyOf(text.substr(0, size))), PastedPart::kSome) << size;
  }
  EXPECT_EQ(JudgePastedJoinKey(Secret::CopyOf(text)), PastedPart::kWhole);
  // Whether it is good is not judged here: a letter too many, or a wrong one behind the first group.
  EXPECT_EQ(JudgePastedJoinKey(Secret::CopyOf(text + "A")), PastedPart::kWhole);
  std::string wrong = text;
  wrong[100] = wrong[100] == 'A' ? 'B' : 'A';
  EXPECT_EQ(JudgePastedJoinKey(Secret::CopyOf(wrong)), PastedPart::kWhole);
  // Nobody waits for the end of what has no end.
  wrong = text;
  wrong[8] = wrong[8] == 'A' ? 'B' : 'A';
  for (const std::string& other : {std::string("hunter2"), std::string("prc1.AAAA"), std::string("pri1.AAAA"), wrong,
                                   std::string("prl1.0!"), "prl1." + std::string(5000, '0')}) {
    EXPECT_EQ(JudgePastedJoinKey(Secret::CopyOf(other)), PastedPart::kNone) << other;
  }
}

TEST(JoinKey, IsOneLineOfLettersThatAQrCodePacks) {
  const std::string text = ExampleText();
  EXPECT_LT(text.size(), 310u);
  for (const char letter : text.substr(5)) {
    EXPECT_TRUE(absl::ascii_isupper(letter) || absl::ascii_isdigit(letter) || letter == '.') << letter;
  }
}

TEST(JoinKey, ToleratesCaseSpacesAndLookAlikes) {
  const std::string text = ExampleText();
  EXPECT_TRUE(Parse(absl::AsciiStrToLower(text)).ok());
  EXPECT_TRUE(Parse(absl::AsciiStrToUpper(text)).ok());
  EXPECT_TRUE(Parse(absl::StrCat("\n  ", text, "\r\n")).ok());
  EXPECT_TRUE(Parse(absl::StrReplaceAll(text, {{".", ".\n  "}})).ok());
  EXPECT_TRUE(Parse(absl::StrCat("prl1.", absl::StrReplaceAll(text.substr(5), {{"0", "O"}, {"1", "l"}}))).ok());
}

TEST(JoinKey, RefusesAnyWrongLetterInAnyPlaceAsATypo) {
  const std::string text = ExampleText();
  const std::string others = absl::StrCat(kAlphabet, "Uu-_!.é");
  for (size_t at = 0; at < text.size(); ++at) {
    for (const char letter : others) {
      std::string wrong = text;
      wrong[at] = letter;
      if (absl::ascii_tolower(letter) == absl::ascii_tolower(text[at])) continue;
      EXPECT_EQ(ReasonOf(wrong), "JOIN_KEY_TYPO") << at << " " << letter;
    }
  }
}

TEST(JoinKey, NamesTheGroupOfAWrongLetter) {
  const std::string text = ExampleText();
  size_t group = 1;
  for (size_t at = 5; at < text.size(); ++at) {
    if (text[at] == '.') {
      ++group;
      continue;
    }
    std::string wrong = text;
    wrong[at] = text[at] == 'A' ? 'B' : 'A';
    const absl::Status status = Parse(wrong);
    EXPECT_NE(status.message().find(absl::StrCat("in group ", group, " ")), absl::string_view::npos)
        << at << " " << status;
  }
  EXPECT_GT(group, 5u);
}

TEST(JoinKey, RefusesTwoLettersThatChangedPlaces) {
  const std::string text = ExampleText();
  for (size_t at = 5; at + 1 < text.size(); ++at) {
    std::string wrong = text;
    std::swap(wrong[at], wrong[at + 1]);
    if (wrong != text) EXPECT_EQ(ReasonOf(wrong), "JOIN_KEY_TYPO") << at;
  }
}

TEST(JoinKey, RefusesGroupsThatChangedPlacesOrCameTwice) {
  const std::string text = ExampleText();
  const std::string swapped =
      absl::StrCat(text.substr(0, 37), text.substr(69, 31), ".", text.substr(37, 31), text.substr(100));
  ASSERT_EQ(swapped.size(), text.size());
  EXPECT_EQ(ReasonOf(swapped), "JOIN_KEY_TYPO");
  EXPECT_EQ(ReasonOf(absl::StrCat(text.substr(0, 69), text.substr(37))), "JOIN_KEY_TYPO");
}

TEST(JoinKey, SaysWhenItsEndIsMissing) {
  const std::string text = ExampleText();
  for (size_t size = 5; size < text.size(); ++size) {
    EXPECT_EQ(ReasonOf(text.substr(0, size)), "JOIN_KEY_INCOMPLETE") << size;
  }
  for (size_t size = 0; size < 5; ++size) EXPECT_EQ(ReasonOf(text.substr(0, size)), "JOIN_KEY_NOT_ONE") << size;
}

TEST(JoinKey, RefusesMissingAndAddedLetters) {
  const std::string text = ExampleText();
  for (size_t at = 6; at + 40 < text.size(); ++at) {
    EXPECT_EQ(ReasonOf(absl::StrCat(text.substr(0, at), text.substr(at + 1))), "JOIN_KEY_TYPO") << at;
    EXPECT_EQ(ReasonOf(absl::StrCat(text.substr(0, at), "A", text.substr(at))), "JOIN_KEY_TYPO") << at;
  }
  EXPECT_EQ(ReasonOf(absl::StrCat(text, "A")), "JOIN_KEY_TYPO");
  EXPECT_NE(ReasonOf(absl::StrCat(text, text)), "");
}

TEST(JoinKey, SaysWhatWasPastedInItsPlace) {
  EXPECT_EQ(ReasonOf(""), "JOIN_KEY_NOT_ONE");
  EXPECT_EQ(ReasonOf("hello"), "JOIN_KEY_NOT_ONE");
  EXPECT_EQ(ReasonOf(std::string(5000, 'A')), "JOIN_KEY_NOT_ONE");
  EXPECT_EQ(ReasonOf("prc1.AAAAAAAA"), "JOIN_KEY_NOT_ONE");
  EXPECT_NE(Parse("prc1.AAAAAAAA").message().find("credential"), absl::string_view::npos);
  EXPECT_EQ(ReasonOf("prl2.ABCDEF.ABCDEF"), "JOIN_KEY_VERSION");
}

TEST(JoinKey, NamesTheTimeAndTheRemedyWhenItExpired) {
  const Secret text = *FormatJoinKey(Example());
  EXPECT_TRUE(ParseJoinKey(text, kNow + absl::Hours(24) - absl::Seconds(1)).ok());
  const absl::Status status = ParseJoinKey(text, kNow + absl::Hours(24)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Reason(status), "JOIN_KEY_EXPIRED");
  EXPECT_NE(status.message().find("2023-11-15 22:13 UTC"), absl::string_view::npos) << status;
  EXPECT_NE(status.message().find("parley task key nginx-tls-7k3q"), absl::string_view::npos) << status;
}

TEST(JoinKey, ErrorsNeverShowTheKey) {
  const std::string text = ExampleText();
  for (size_t at = 0; at < text.size(); ++at) {
    std::string wrong = text;
    wrong[at] = '%';
    const std::string message(Parse(wrong).message());
    for (size_t from = 5; from + 4 < text.size(); ++from) {
      ASSERT_EQ(message.find(text.substr(from, 4)), std::string::npos) << message;
    }
  }
}

TEST(JoinKey, RefusesToBeMadeOfFieldsThatDoNotFit) {
  const auto refused = [](auto change) {
    JoinKey key = Example();
    change(&key);
    return Reason(FormatJoinKey(key).status()) == "JOIN_KEY_FIELDS";
  };
  EXPECT_TRUE(refused([](JoinKey* key) { key->address = "no port"; }));
  EXPECT_TRUE(refused([](JoinKey* key) { key->address = "host:"; }));
  EXPECT_TRUE(refused([](JoinKey* key) { key->address = ":7443"; }));
  EXPECT_TRUE(refused([](JoinKey* key) { key->address = "a\x1b[31m:7443"; }));
  EXPECT_TRUE(refused([](JoinKey* key) { key->address = absl::StrCat(std::string(255, 'a'), ":7443"); }));
  EXPECT_TRUE(refused([](JoinKey* key) { key->task = ""; }));
  EXPECT_TRUE(refused([](JoinKey* key) { key->task = "A\n"; }));
  EXPECT_TRUE(refused([](JoinKey* key) { key->identity = "?"; }));
  EXPECT_TRUE(refused([](JoinKey* key) { key->secret = Secret(31); }));
  EXPECT_TRUE(refused([](JoinKey* key) { key->verification_key = "v"; }));
  EXPECT_TRUE(refused([](JoinKey* key) { key->not_after = absl::InfiniteFuture(); }));
}

}  // namespace
}  // namespace parley::keys
