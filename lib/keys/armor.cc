#include "lib/keys/armor.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/crypto/hash.h"

namespace parley::keys {
namespace {

// prefix ‖ groups joined by '.'. A group is 30 letters of base 32 (the last one 1 to 30) and a check letter.
// The letters are: version (1) ‖ size of all that follows (2) ‖ fields ‖ 4 bytes of SHA-256 over everything before.
constexpr char kVersion = 1;
constexpr size_t kGroupLetters = 30;
constexpr size_t kFullGroup = kGroupLetters + 1;
constexpr size_t kHeaderBytes = 3;
constexpr size_t kTimeBytes = 5;
constexpr size_t kChecksumBytes = 4;
constexpr int64_t kMaxUnixSeconds = (int64_t{1} << (8 * kTimeBytes)) - 1;
constexpr size_t kMaxPastedBytes = 4096;

// What a person may take for another.
struct Known {
  absl::string_view prefix;
  absl::string_view noun;
};
constexpr Known kKnown[] = {{"prc1.", "a credential"},
                            {kJoinKeyFormat.prefix, kJoinKeyFormat.a_noun},
                            {kInvitationLinkFormat.prefix, kInvitationLinkFormat.a_noun}};

absl::Status Refused(const ArmorFormat& format, absl::string_view reason, absl::string_view sentence) {
  return InvalidArgument(absl::StrCat(format.reason, "_", reason), sentence);
}

absl::Status Typo(const ArmorFormat& format, absl::string_view where) {
  return Refused(
      format, "TYPO",
      absl::StrCat(format.the_noun, " has a wrong letter", where, "; compare it with the original, or paste it again"));
}

absl::Status TypoInGroup(const ArmorFormat& format, size_t index) {
  return Typo(format,
              absl::StrCat(" in group ", index + 1, " (groups stand between the dots, after ", format.prefix, ")"));
}

absl::Status TypoInPrefix(const ArmorFormat& format) {
  return Typo(format, absl::StrCat(" in its first five, which are ", format.prefix));
}

absl::Status Incomplete(const ArmorFormat& format) {
  return Refused(format, "INCOMPLETE",
                 absl::StrCat(format.the_noun, " is not complete; paste the whole line, to its end"));
}

absl::Status NewerVersion(const ArmorFormat& format) {
  return Refused(format, "VERSION",
                 absl::StrCat(format.the_noun, " is of a newer version of Parley; upgrade parley on this machine"));
}

// Product in GF(32) with x^5 + x^2 + 1.
uint8_t Times(uint8_t a, uint8_t b) {
  uint8_t product = 0;
  for (; b != 0; b >>= 1) {
    if (b & 1) product ^= a;
    a = static_cast<uint8_t>(a << 1);
    if (a & 0x20) a ^= 0x25;
  }
  return product;
}

// The check letter's value: the sum of letter i times 2^i in GF(32), i from 1 to at most 30. With the check letter
// itself at 2^0, the 31 weights of a group all differ and none is 0: one wrong letter is always found, and so is
// an exchange of two.
uint8_t CheckValue(absl::string_view letters) {
  uint8_t sum = 0;
  uint8_t weight = 1;
  for (const char letter : letters) {
    weight = Times(weight, 2);
    sum ^= Times(weight, static_cast<uint8_t>(Base32Value(letter)));
  }
  return sum;
}

std::string Checksum(const ArmorFormat& format, absl::string_view body) {
  std::string hashed = absl::StrCat(format.checksum_label, body);
  std::string checksum = crypto::Sha256(hashed).substr(0, kChecksumBytes);
  WipeString(&hashed);
  return checksum;
}

// What may stand within and around a secret that people hand on: marks of quoting, in ASCII and in typeset text; white
// space of Unicode and characters without width, such as the marks of direction that chats put around a text; what
// continues a line in a shell and in mail; and what a terminal sends before and behind a paste.
constexpr absl::string_view kDecorations[] = {
    "\"",     "'",      "`",      "<",      ">",      "\u2018", "\u2019", "\u201a", "\u201b",    "\u201c",
    "\u201d", "\u201e", "\u201f", "\u2039", "\u203a", "\u00ab", "\u00bb", "\u0085", "\u00a0",    "\u00ad",
    "\u2000", "\u2001", "\u2002", "\u2003", "\u2004", "\u2005", "\u2006", "\u2007", "\u2008",    "\u2009",
    "\u200a", "\u200b", "\u200c", "\u200d", "\u2028", "\u2029", "\u202f", "\u205f", "\u2060",    "\u3000",
    "\ufeff", "\u1680", "\u180e", "\u200e", "\u200f", "\u202a", "\u202b", "\u202c", "\u202d",    "\u202e",
    "\u2066", "\u2067", "\u2068", "\u2069", "\\",     "=",      "|",      "*",      "\x1b[200~", "\x1b[201~",
};

Secret StripDecoration(absl::string_view given) {
  std::string text;
  text.reserve(given.size());
  while (!given.empty()) {
    const auto* const decoration =
        std::find_if(std::begin(kDecorations), std::end(kDecorations),
                     [given](absl::string_view mark) { return absl::StartsWith(given, mark); });
    if (decoration != std::end(kDecorations)) {
      given.remove_prefix(decoration->size());
      continue;
    }
    if (!absl::ascii_isspace(static_cast<unsigned char>(given.front()))) text.push_back(given.front());
    given.remove_prefix(1);
  }
  return Secret::Take(std::move(text));
}

enum class Prefix { kOurs, kOtherVersion, kTypo, kForeign };

Prefix Classify(const ArmorFormat& format, absl::string_view text) {
  const absl::string_view prefix = format.prefix;
  if (text.size() < prefix.size()) return Prefix::kForeign;
  size_t differences = 0;
  for (size_t i = 0; i < prefix.size(); ++i) {
    if (absl::ascii_tolower(text[i]) != prefix[i]) ++differences;
  }
  if (differences == 0) return Prefix::kOurs;
  // Without dots it may be a credential, whose first letters differ in one place.
  if (differences > 1 || !absl::StrContains(text.substr(prefix.size()), '.')) return Prefix::kForeign;
  return absl::ascii_isdigit(text[3]) && text[3] != prefix[3] ? Prefix::kOtherVersion : Prefix::kTypo;
}

absl::Status Foreign(const ArmorFormat& format, absl::string_view text) {
  for (const Known& known : kKnown) {
    if (absl::StartsWithIgnoreCase(text, known.prefix)) {
      return NotOne(
          format, absl::StrCat("this is ", known.noun, ", not ", format.a_noun, ", which starts with ", format.prefix));
    }
  }
  return NotOne(format, absl::StrCat("this is not ", format.a_noun, ", which starts with ", format.prefix));
}

// How many letters of base 32 there are by the header's account. `letters`: at least its first 5.
size_t DeclaredLetters(absl::string_view letters) {
  uint32_t header = 0;
  for (const char letter : letters.substr(0, 5)) header = header << 5 | static_cast<uint32_t>(Base32Value(letter));
  const size_t following = header >> 1 & 0xFFFF;
  return ((kHeaderBytes + following) * 8 + 4) / 5;
}

// The letters of all groups, without their check letters, into `letters`.
absl::Status CollectLetters(const ArmorFormat& format, absl::string_view text, std::string* letters) {
  const std::vector<absl::string_view> groups = absl::StrSplit(text, '.');
  for (size_t i = 0; i < groups.size(); ++i) {
    const absl::string_view group = groups[i];
    const bool last = i + 1 == groups.size();
    if (!std::all_of(group.begin(), group.end(), [](char c) { return Base32Value(c) >= 0; })) {
      return TypoInGroup(format, i);
    }
    // Only a cut-off text ends within a group that its own header knows to be longer.
    const bool cut_off =
        last && group.size() < kFullGroup && (i == 0 || DeclaredLetters(*letters) > letters->size() + group.size() - 1);
    if (group.size() < 2 || cut_off) return last ? Incomplete(format) : TypoInGroup(format, i);
    if (last ? group.size() > kFullGroup : group.size() != kFullGroup) return TypoInGroup(format, i);
    const absl::string_view checked = group.substr(0, group.size() - 1);
    if (CheckValue(checked) != Base32Value(group.back())) return TypoInGroup(format, i);
    absl::StrAppend(letters, checked);
  }
  if (DeclaredLetters(*letters) > letters->size()) return Incomplete(format);
  return absl::OkStatus();
}

// The bytes before the checksum, once it is found good.
absl::StatusOr<Secret> Decode(const ArmorFormat& format, absl::string_view text) {
  std::string letters;
  letters.reserve(text.size());
  const absl::Status collected = CollectLetters(format, text, &letters);
  std::optional<std::string> decoded;
  if (collected.ok()) decoded = Base32Decode(letters);
  WipeString(&letters);
  RETURN_IF_ERROR(collected);
  if (!decoded.has_value()) return Typo(format, "");
  const Secret bytes = Secret::Take(std::move(*decoded));
  if (bytes.size() <= kHeaderBytes + kChecksumBytes) return Incomplete(format);
  const absl::string_view body = bytes.Expose().substr(0, bytes.size() - kChecksumBytes);
  if (bytes.Expose().substr(body.size()) != Checksum(format, body)) return Typo(format, "");
  return Secret::CopyOf(body);
}

}  // namespace

absl::Status NotOne(const ArmorFormat& format, absl::string_view sentence) {
  return Refused(format, "NOT_ONE", sentence);
}

absl::Status CheckNotExpired(const ArmorFormat& format, absl::Time not_after, absl::Time now,
                             absl::string_view remedy) {
  if (now < not_after) return absl::OkStatus();
  const auto minute = [](absl::Time time) { return absl::FormatTime("%Y-%m-%d %H:%M UTC", time, absl::UTCTimeZone()); };
  return FailedPrecondition(absl::StrCat(format.reason, "_EXPIRED"), format.the_noun.substr(4), " expired at ",
                            minute(not_after), " (it is ", minute(now), " by this machine's clock); ", remedy);
}

absl::StatusOr<Secret> StripPasted(const ArmorFormat& format, const Secret& pasted) {
  Secret text = StripDecoration(pasted.Expose().substr(0, kMaxPastingBytes));
  if (pasted.size() <= kMaxPastingBytes && text.size() <= kMaxPastedBytes) return text;
  return NotOne(format, absl::StrCat("this is too long for ", format.a_noun, "; paste the line that starts with ",
                                     format.prefix));
}

PastedPart JudgePart(const ArmorFormat& format, absl::string_view text) {
  const absl::string_view prefix = format.prefix;
  if (text.size() <= prefix.size()) {
    return absl::StartsWithIgnoreCase(prefix, text) ? PastedPart::kSome : PastedPart::kNone;
  }
  if (!absl::StartsWithIgnoreCase(text, prefix)) return PastedPart::kNone;
  if (text.size() > kMaxPastedBytes) return PastedPart::kNone;
  const absl::string_view body = text.substr(prefix.size());
  const absl::string_view first = body.substr(0, body.find('.'));
  // The header stands in the first group. While that is not whole or holds a wrong letter, the size is not known.
  const bool letters = std::all_of(first.begin(), first.end(), [](char c) { return Base32Value(c) >= 0; });
  if (!letters || first.size() > kFullGroup) return PastedPart::kNone;
  if (first.size() < kFullGroup && first.size() == body.size()) return PastedPart::kSome;
  if (first.size() < kFullGroup || CheckValue(first.substr(0, kGroupLetters)) != Base32Value(first.back())) {
    return PastedPart::kNone;
  }
  const size_t declared = DeclaredLetters(first);
  const size_t groups = (declared + kGroupLetters - 1) / kGroupLetters;
  const size_t whole = declared + groups + (groups - 1);
  if (prefix.size() + whole > kMaxPastedBytes) return PastedPart::kNone;
  return body.size() < whole ? PastedPart::kSome : PastedPart::kWhole;
}

Secret EncodeFields(const ArmorFormat& format, std::string fields) {
  // One StrCat makes one string: none that grew leaves the secret behind.
  std::string body = absl::StrCat(std::string(1, kVersion), BigEndian(fields.size() + kChecksumBytes, 2), fields);
  std::string bytes = absl::StrCat(body, Checksum(format, body));
  std::string letters = Base32Encode(bytes);
  std::string text;
  text.reserve(format.prefix.size() + letters.size() * 2);
  absl::StrAppend(&text, format.prefix);
  for (size_t at = 0; at < letters.size(); at += kGroupLetters) {
    const absl::string_view group = absl::string_view(letters).substr(at, kGroupLetters);
    if (at > 0) text.push_back('.');
    absl::StrAppend(&text, group);
    text.push_back(Base32Letter(CheckValue(group)));
  }
  for (std::string* const left : {&fields, &body, &bytes, &letters}) WipeString(left);
  return Secret::Take(std::move(text));
}

absl::StatusOr<Secret> DecodeFields(const ArmorFormat& format, const Secret& pasted) {
  absl::string_view text = pasted.Expose();
  const Prefix prefix = Classify(format, text);
  if (prefix == Prefix::kForeign) return Foreign(format, text);
  const absl::StatusOr<Secret> body = Decode(format, text.substr(format.prefix.size()));
  // The body may be of our version all the same: then the prefix is wrong.
  const bool ours = body.ok() && body->Expose()[0] == kVersion;
  if (prefix == Prefix::kOtherVersion) return ours ? TypoInPrefix(format) : NewerVersion(format);
  if (prefix == Prefix::kTypo) {
    const bool known = std::any_of(std::begin(kKnown), std::end(kKnown), [text](const Known& known) {
      return absl::StartsWithIgnoreCase(text, known.prefix);
    });
    return known && !ours ? Foreign(format, text) : TypoInPrefix(format);
  }
  RETURN_IF_ERROR(body.status());
  if (!ours) return NewerVersion(format);
  return Secret::CopyOf(body->Expose().substr(kHeaderBytes));
}

std::string EncodeTime(absl::Time time) {
  return BigEndian(static_cast<uint64_t>(absl::ToUnixSeconds(time)), kTimeBytes);
}

bool FitsTime(absl::Time time) {
  const int64_t seconds = absl::ToUnixSeconds(time);
  return seconds >= 0 && seconds <= kMaxUnixSeconds;
}

std::string Sized(absl::string_view text) { return absl::StrCat(BigEndian(text.size(), 1), text); }

bool IsAddress(absl::string_view address) {
  const size_t colon = address.rfind(':');
  if (address.size() > 255 || colon == absl::string_view::npos || colon == 0 || colon + 1 == address.size())
    return false;
  return std::all_of(address.begin(), address.end(), absl::ascii_isgraph) &&
         std::all_of(address.begin() + colon + 1, address.end(), absl::ascii_isdigit);
}

absl::Time TakeTime(ByteReader* reader) {
  return absl::FromUnixSeconds(static_cast<int64_t>(reader->TakeNumber(kTimeBytes)));
}

}  // namespace parley::keys
