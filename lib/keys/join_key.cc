#include "lib/keys/join_key.h"

#include <algorithm>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/crypto/signature.h"
#include "lib/keys/armor.h"
#include "lib/keys/identity.h"

namespace parley::keys {
namespace {

// The fields: not_after (5) ‖ secret (32) ‖ verification key (32) ‖ address, task and identity, each after one byte
// with its size.

bool IsTask(absl::string_view task) {
  return !task.empty() && task.size() <= kMaxSubjectBytes && std::all_of(task.begin(), task.end(), [](char c) {
    return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-';
  });
}

bool IsGood(const JoinKey& key) {
  return IsAddress(key.address) && IsTask(key.task) && !key.identity.empty() &&
         key.identity.size() <= kMaxIdentityBytes && key.secret.size() == kSecretBytes &&
         key.verification_key.size() == crypto::kVerificationKeyBytes && FitsTime(key.not_after);
}

absl::StatusOr<JoinKey> ParseFields(absl::string_view fields) {
  ByteReader reader(fields);
  JoinKey key;
  key.not_after = TakeTime(&reader);
  key.secret = Secret::CopyOf(reader.Take(kSecretBytes));
  key.verification_key = std::string(reader.Take(crypto::kVerificationKeyBytes));
  key.address = std::string(reader.TakeSized(1));
  key.task = std::string(reader.TakeSized(1));
  key.identity = Base64UrlEncode(reader.TakeSized(1));
  if (!reader.finished() || !IsGood(key)) {
    return NotOne(kJoinKeyFormat, "the join key is malformed; ask for a new one");
  }
  return key;
}

}  // namespace

absl::StatusOr<Secret> FormatJoinKey(const JoinKey& key) {
  const std::optional<std::string> identity = Base64UrlDecode(key.identity);
  if (!IsGood(key) || !identity.has_value()) {
    return InvalidArgument(
        "JOIN_KEY_FIELDS",
        "a join key needs host:port, a task's id, an identity, a secret and a verification key of 32 bytes");
  }
  return EncodeFields(kJoinKeyFormat, absl::StrCat(EncodeTime(key.not_after), key.secret.Expose(), key.verification_key,
                                                   Sized(key.address), Sized(key.task), Sized(*identity)));
}

absl::StatusOr<JoinKey> ParseJoinKey(const Secret& pasted, absl::Time now) {
  ASSIGN_OR_RETURN(const Secret text, StripPasted(kJoinKeyFormat, pasted));
  ASSIGN_OR_RETURN(const Secret fields, DecodeFields(kJoinKeyFormat, text));
  ASSIGN_OR_RETURN(JoinKey key, ParseFields(fields.Expose()));
  RETURN_IF_ERROR(CheckNotExpired(kJoinKeyFormat, key.not_after, now,
                                  absl::StrCat("ask for a new one with: parley task key ", key.task)));
  return key;
}

PastedPart JudgePastedJoinKey(const Secret& pasted) {
  const absl::StatusOr<Secret> text = StripPasted(kJoinKeyFormat, pasted);
  return text.ok() ? JudgePart(kJoinKeyFormat, text->Expose()) : PastedPart::kNone;
}

}  // namespace parley::keys
