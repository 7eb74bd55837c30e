// Encodes secrets as people paste them: a prefix, groups of base 32 with a check letter each, and a checksum over all
// of it (docs/protocol/keys.md, "Join key"). Private to lib/keys: others use join_key.h and invitation_link.h.
//
// Threads: free functions without state.
#ifndef PARLEY_LIB_KEYS_ARMOR_H_
#define PARLEY_LIB_KEYS_ARMOR_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/base/encoding.h"
#include "lib/base/secret.h"
#include "lib/keys/pasting.h"

namespace parley::keys {

// One kind of armored secret.
struct ArmorFormat {
  // Five letters: "prl1.".
  absl::string_view prefix;
  // "the join key", "a join key".
  absl::string_view the_noun;
  absl::string_view a_noun;
  // Reasons are this ("JOIN_KEY") with _NOT_ONE, _TYPO, _INCOMPLETE or _VERSION behind it.
  absl::string_view reason;
  // Goes into the checksum before the body, so that one kind with another's prefix is told from a typo.
  absl::string_view checksum_label;
};

inline constexpr ArmorFormat kJoinKeyFormat = {"prl1.", "the join key", "a join key", "JOIN_KEY", ""};
inline constexpr ArmorFormat kInvitationLinkFormat = {"pri1.", "the invitation link", "an invitation link",
                                                      "INVITATION_LINK", "pri1."};

// Returns the text that carries these fields, and wipes them.
Secret EncodeFields(const ArmorFormat& format, std::string fields);
// Returns the fields of a text without white space. Returns INVALID_ARGUMENT with the reasons above.
absl::StatusOr<Secret> DecodeFields(const ArmorFormat& format, const Secret& text);

// Returns INVALID_ARGUMENT ({reason}_NOT_ONE) with this sentence.
absl::Status NotOne(const ArmorFormat& format, absl::string_view sentence);
// Returns FAILED_PRECONDITION ({reason}_EXPIRED) once `now` is not before `not_after`. `remedy` ends the sentence.
absl::Status CheckNotExpired(const ArmorFormat& format, absl::Time not_after, absl::Time now, absl::string_view remedy);
// Returns the text without white space, quoting marks and what a terminal puts around a paste. Returns INVALID_ARGUMENT
// ({reason}_NOT_ONE) if it is longer than any armored secret.
absl::StatusOr<Secret> StripPasted(const ArmorFormat& format, const Secret& pasted);
// Returns how much of an armored secret there is in what StripPasted returned.
PastedPart JudgePart(const ArmorFormat& format, absl::string_view text);

// Fields are a time (5 bytes), or a text with its size in a byte before it.
std::string EncodeTime(absl::Time time);
bool FitsTime(absl::Time time);
std::string Sized(absl::string_view text);
// Returns whether the text is "host:port" of printable ASCII, so that it may be shown on a terminal.
bool IsAddress(absl::string_view address);

// Takes the next time of the fields.
absl::Time TakeTime(ByteReader* reader);

}  // namespace parley::keys

#endif  // PARLEY_LIB_KEYS_ARMOR_H_
