// Text that is pasted as a join key, and contents that somebody gave a good checksum.
#include <stdlib.h>

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/crypto/hash.h"
#include "lib/keys/join_key.h"

namespace parley::keys {
namespace {

void CheckPasted(absl::string_view text) {
  const auto key = ParseJoinKey(Secret::CopyOf(text), absl::FromUnixSeconds(1));
  if (!key.ok()) {
    if (!absl::StartsWith(Reason(key.status()), "JOIN_KEY_")) abort();
    return;
  }
  // What is read can be written, and means the same.
  const auto again = ParseJoinKey(FormatJoinKey(*key).value(), absl::FromUnixSeconds(1));
  if (!again.ok() || again->address != key->address || again->task != key->task || again->identity != key->identity ||
      !(again->secret == key->secret) || again->verification_key != key->verification_key ||
      again->not_after != key->not_after) {
    abort();
  }
}

// The check letter, written apart from the library: products in GF(32) from a table of powers of 2.
char CheckLetter(absl::string_view letters) {
  int powers[62], logarithms[32] = {};
  for (int i = 0, value = 1; i < 62; ++i, value = value & 16 ? (value << 1 & 31) ^ 5 : value << 1) {
    powers[i] = value;
    logarithms[value] = i % 31;
  }
  int sum = 0;
  for (size_t i = 0; i < letters.size(); ++i) {
    const int value = Base32Value(letters[i]);
    if (value != 0) sum ^= powers[(logarithms[value] + i + 1) % 31];
  }
  return Base32Letter(sum);
}

std::string Encode(absl::string_view fields) {
  std::string body = std::string("\x01", 1);
  const size_t following = fields.size() + 4;
  body.push_back(static_cast<char>(following >> 8));
  body.push_back(static_cast<char>(following));
  absl::StrAppend(&body, fields);
  const std::string letters = Base32Encode(absl::StrCat(body, crypto::Sha256(body).substr(0, 4)));
  std::string text = "prl1";
  for (size_t at = 0; at < letters.size(); at += 30) {
    const std::string group = letters.substr(at, 30);
    absl::StrAppend(&text, ".", group, std::string(1, CheckLetter(group)));
  }
  return text;
}

}  // namespace
}  // namespace parley::keys

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view input(reinterpret_cast<const char*>(data), size);
  parley::keys::CheckPasted(input);
  parley::keys::CheckPasted(parley::keys::Encode(input));
  return 0;
}
