#include "lib/keys/join_key.h"

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
#include "lib/crypto/signature.h"
#include "lib/keys/identity.h"

namespace parley::keys {
namespace {

// "prl1." ‖ groups joined by '.'. A group is 30 letters of base 32 (the last one 1 to 30) and a check letter.
// The letters are: version (1) ‖ size of all that follows (2) ‖ not_after (5) ‖ secret (32) ‖ verification key (32)
// ‖ address, task and identity, each after one byte with its size ‖ 4 bytes of SHA-256 over everything before.
constexpr absl::string_view kPrefix = "prl1.";
constexpr char kVersion = 1;
constexpr size_t kGroupLetters = 30;
constexpr size_t kFullGroup = kGroupLetters + 1;
constexpr size_t kHeaderBytes = 3;
constexpr size_t kTimeBytes = 5;
constexpr size_t kChecksumBytes = 4;
constexpr int64_t kMaxUnixSeconds = (int64_t{1} << (8 * kTimeBytes)) - 1;
constexpr size_t kMaxPastedBytes = 4096;

absl::Status Typo(absl::string_view where) {
  return Error(
      absl::StatusCode::kInvalidArgument, "JOIN_KEY_TYPO",
      absl::StrCat("the join key has a wrong letter", where, "; compare it with the original, or paste it again"));
}

absl::Status TypoInGroup(size_t index) {
  return Typo(absl::StrCat(" in group ", index + 1, " (groups stand between the dots, after prl1.)"));
}

absl::Status Incomplete() {
  return Error(absl::StatusCode::kInvalidArgument, "JOIN_KEY_INCOMPLETE",
               "the join key is not complete; paste the whole line, to its end");
}

absl::Status NotOne(absl::string_view sentence) {
  return Error(absl::StatusCode::kInvalidArgument, "JOIN_KEY_NOT_ONE", sentence);
}

absl::Status NewerVersion() {
  return Error(absl::StatusCode::kInvalidArgument, "JOIN_KEY_VERSION",
               "the join key is of a newer version of Parley; upgrade parley on this machine");
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

std::string BigEndian(uint64_t value, size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = size; i-- > 0; value >>= 8) bytes[i] = static_cast<char>(value & 0xFF);
  return bytes;
}

uint64_t FromBigEndian(absl::string_view bytes) {
  uint64_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<uint8_t>(byte);
  return value;
}

// host:port of printable ASCII, so that an address may be shown on a terminal.
bool IsAddress(absl::string_view address) {
  const size_t colon = address.rfind(':');
  if (address.size() > 255 || colon == absl::string_view::npos || colon == 0 || colon + 1 == address.size())
    return false;
  return std::all_of(address.begin(), address.end(), absl::ascii_isgraph) &&
         std::all_of(address.begin() + colon + 1, address.end(), absl::ascii_isdigit);
}

bool IsTask(absl::string_view task) {
  return !task.empty() && task.size() <= kMaxSubjectBytes && std::all_of(task.begin(), task.end(), [](char c) {
    return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-';
  });
}

bool IsGood(const JoinKey& key) {
  const int64_t not_after = absl::ToUnixSeconds(key.not_after);
  return IsAddress(key.address) && IsTask(key.task) && !key.identity.empty() &&
         key.identity.size() <= kMaxIdentityBytes && key.secret.size() == kSecretBytes &&
         key.verification_key.size() == crypto::kVerificationKeyBytes && not_after >= 0 && not_after <= kMaxUnixSeconds;
}

// Takes the next bytes of a key that is read, of a given size or of the size that stands before them.
class Reader {
 public:
  explicit Reader(absl::string_view bytes) : bytes_(bytes) {}
  absl::string_view Take(size_t size) {
    good_ = good_ && size <= bytes_.size();
    if (!good_) return {};
    const absl::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return taken;
  }
  absl::string_view TakeSized() {
    const absl::string_view size = Take(1);
    return size.empty() ? size : Take(static_cast<uint8_t>(size[0]));
  }
  bool good_to_the_end() const { return good_ && bytes_.empty(); }

 private:
  absl::string_view bytes_;
  bool good_ = true;
};

enum class Prefix { kOurs, kOtherVersion, kTypo, kForeign };

Prefix Classify(absl::string_view text) {
  if (text.size() < kPrefix.size()) return Prefix::kForeign;
  size_t differences = 0;
  for (size_t i = 0; i < kPrefix.size(); ++i) {
    if (absl::ascii_tolower(text[i]) != kPrefix[i]) ++differences;
  }
  if (differences == 0) return Prefix::kOurs;
  // Without dots it may be a credential, whose first letters differ in one place.
  if (differences > 1 || !absl::StrContains(text.substr(kPrefix.size()), '.')) return Prefix::kForeign;
  return absl::ascii_isdigit(text[3]) && text[3] != kPrefix[3] ? Prefix::kOtherVersion : Prefix::kTypo;
}

// How many letters of base 32 the key has by its own account. `letters`: at least its first 5.
size_t DeclaredLetters(absl::string_view letters) {
  uint32_t header = 0;
  for (const char letter : letters.substr(0, 5)) header = header << 5 | static_cast<uint32_t>(Base32Value(letter));
  const size_t following = header >> 1 & 0xFFFF;
  return ((kHeaderBytes + following) * 8 + 4) / 5;
}

// The letters of all groups, without their check letters, into `letters`.
absl::Status CollectLetters(absl::string_view text, std::string* letters) {
  const std::vector<absl::string_view> groups = absl::StrSplit(text, '.');
  for (size_t i = 0; i < groups.size(); ++i) {
    const absl::string_view group = groups[i];
    const bool last = i + 1 == groups.size();
    if (!std::all_of(group.begin(), group.end(), [](char c) { return Base32Value(c) >= 0; })) return TypoInGroup(i);
    // Only a cut-off key ends within a group that its own header knows to be longer.
    const bool cut_off =
        last && group.size() < kFullGroup && (i == 0 || DeclaredLetters(*letters) > letters->size() + group.size() - 1);
    if (group.size() < 2 || cut_off) return last ? Incomplete() : TypoInGroup(i);
    if (last ? group.size() > kFullGroup : group.size() != kFullGroup) return TypoInGroup(i);
    const absl::string_view checked = group.substr(0, group.size() - 1);
    if (CheckValue(checked) != Base32Value(group.back())) return TypoInGroup(i);
    absl::StrAppend(letters, checked);
  }
  if (DeclaredLetters(*letters) > letters->size()) return Incomplete();
  return absl::OkStatus();
}

// The bytes before the checksum, once it is found good.
absl::StatusOr<Secret> Decode(absl::string_view text) {
  std::string letters;
  letters.reserve(text.size());
  const absl::Status collected = CollectLetters(text, &letters);
  std::optional<std::string> decoded;
  if (collected.ok()) decoded = Base32Decode(letters);
  WipeString(&letters);
  RETURN_IF_ERROR(collected);
  if (!decoded.has_value()) return Typo("");
  const Secret bytes = Secret::Take(std::move(*decoded));
  if (bytes.size() <= kHeaderBytes + kChecksumBytes) return Incomplete();
  const absl::string_view body = bytes.Expose().substr(0, bytes.size() - kChecksumBytes);
  if (bytes.Expose().substr(body.size()) != absl::string_view(crypto::Sha256(body)).substr(0, kChecksumBytes)) {
    return Typo("");
  }
  return Secret::CopyOf(body);
}

absl::StatusOr<JoinKey> ParseBody(absl::string_view body) {
  Reader reader(body);
  if (reader.Take(1)[0] != kVersion) return NewerVersion();
  reader.Take(kHeaderBytes - 1);
  JoinKey key;
  key.not_after = absl::FromUnixSeconds(static_cast<int64_t>(FromBigEndian(reader.Take(kTimeBytes))));
  key.secret = Secret::CopyOf(reader.Take(kSecretBytes));
  key.verification_key = std::string(reader.Take(crypto::kVerificationKeyBytes));
  key.address = std::string(reader.TakeSized());
  key.task = std::string(reader.TakeSized());
  key.identity = Base64UrlEncode(reader.TakeSized());
  if (!reader.good_to_the_end() || !IsGood(key)) return NotOne("the join key is malformed; ask for a new one");
  return key;
}

std::string StripSpaces(absl::string_view pasted) {
  std::string text;
  text.reserve(pasted.size());
  std::copy_if(pasted.begin(), pasted.end(), std::back_inserter(text), [](char c) { return !absl::ascii_isspace(c); });
  return text;
}

}  // namespace

absl::StatusOr<Secret> FormatJoinKey(const JoinKey& key) {
  const std::optional<std::string> identity = Base64UrlDecode(key.identity);
  if (!IsGood(key) || !identity.has_value()) {
    return Error(absl::StatusCode::kInvalidArgument, "JOIN_KEY_FIELDS",
                 "a join key needs host:port, a task's id, an identity, a secret and a verification key of 32 bytes");
  }
  const auto sized = [](absl::string_view text) {
    return absl::StrCat(std::string(1, static_cast<char>(text.size())), text);
  };
  // One StrCat makes one string: none that grew leaves the secret behind.
  std::string fields =
      absl::StrCat(BigEndian(static_cast<uint64_t>(absl::ToUnixSeconds(key.not_after)), kTimeBytes),
                   key.secret.Expose(), key.verification_key, sized(key.address), sized(key.task), sized(*identity));
  std::string body = absl::StrCat(std::string(1, kVersion), BigEndian(fields.size() + kChecksumBytes, 2), fields);
  std::string bytes = absl::StrCat(body, crypto::Sha256(body).substr(0, kChecksumBytes));
  std::string letters = Base32Encode(bytes);
  std::string text;
  text.reserve(kPrefix.size() + letters.size() * 2);
  absl::StrAppend(&text, kPrefix);
  for (size_t at = 0; at < letters.size(); at += kGroupLetters) {
    const absl::string_view group = absl::string_view(letters).substr(at, kGroupLetters);
    if (at > 0) text.push_back('.');
    absl::StrAppend(&text, group);
    text.push_back(Base32Letter(CheckValue(group)));
  }
  for (std::string* const left : {&fields, &body, &bytes, &letters}) WipeString(left);
  return Secret::Take(std::move(text));
}

absl::StatusOr<JoinKey> ParseJoinKey(const Secret& pasted, absl::Time now) {
  if (pasted.size() > kMaxPastedBytes)
    return NotOne("this is too long for a join key; paste the line that starts with prl1.");
  const Secret held = Secret::Take(StripSpaces(pasted.Expose()));
  absl::string_view text = held.Expose();
  const Prefix prefix = Classify(text);
  if (prefix == Prefix::kForeign && absl::StartsWithIgnoreCase(text, "prc1.")) {
    return NotOne("this is a credential, not a join key; a join key starts with prl1.");
  }
  if (prefix == Prefix::kForeign) return NotOne("this is not a join key; a join key starts with prl1.");
  if (prefix == Prefix::kTypo) return Typo(" in its first five, which are prl1.");
  text.remove_prefix(kPrefix.size());

  const absl::StatusOr<Secret> body = Decode(text);
  if (prefix == Prefix::kOtherVersion) {
    // Of our version all the same: then it is the digit that is wrong.
    const bool ours = body.ok() && body->Expose()[0] == kVersion;
    return ours ? Typo(" in its first five, which are prl1.") : NewerVersion();
  }
  if (!body.ok()) return body.status();
  ASSIGN_OR_RETURN(JoinKey key, ParseBody(body->Expose()));
  if (now >= key.not_after) {
    const auto minute = [](absl::Time time) {
      return absl::FormatTime("%Y-%m-%d %H:%M UTC", time, absl::UTCTimeZone());
    };
    return Error(absl::StatusCode::kFailedPrecondition, "JOIN_KEY_EXPIRED",
                 absl::StrCat("join key expired at ", minute(key.not_after), " (it is ", minute(now),
                              " by this machine's clock); ask for a new one with: parley task key ", key.task));
  }
  return key;
}

}  // namespace parley::keys
