// Secrets as people paste them: a prefix, groups of base 32 with a check letter each, and a checksum over all.
// docs/protocol/keys.md, "Join key", has the form. For lib/keys alone: join_key.h and invitation_link.h are what others
// use.
//
// Threads: free functions without state.
#ifndef PARLEY_LIB_KEYS_ARMOR_H_
#define PARLEY_LIB_KEYS_ARMOR_H_

#include <cstdint>
#include <initializer_list>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/base/secret.h"
#include "lib/keys/pasting.h"

namespace parley::keys {

// One kind of pasted text.
struct ArmorFormat {
  // 5 letters: "prl1.".
  absl::string_view prefix;
  // "the join key", "a join key".
  absl::string_view the_noun;
  absl::string_view a_noun;
  // "JOIN_KEY": reasons are this with _NOT_ONE, _TYPO, _INCOMPLETE, _VERSION.
  absl::string_view reason;
  // Goes into the checksum before the body, so that one kind dressed up as another is told from a typo.
  absl::string_view checksum_label;
};

inline constexpr ArmorFormat kJoinKeyFormat = {"prl1.", "the join key", "a join key", "JOIN_KEY", ""};
inline constexpr ArmorFormat kInvitationLinkFormat = {"pri1.", "the invitation link", "an invitation link",
                                                      "INVITATION_LINK", "pri1."};

// The text that carries these fields. Wipes them.
Secret EncodeFields(const ArmorFormat& format, std::string fields);
// The fields of a text without white space. INVALID_ARGUMENT with the reasons above.
absl::StatusOr<Secret> DecodeFields(const ArmorFormat& format, const Secret& text);

// {reason}_NOT_ONE with this sentence.
absl::Status NotOne(const ArmorFormat& format, absl::string_view sentence);
// FAILED_PRECONDITION ({reason}_EXPIRED) once `now` is not before `not_after`; `remedy` ends the sentence.
absl::Status CheckNotExpired(const ArmorFormat& format, absl::Time not_after, absl::Time now, absl::string_view remedy);
// Without white space, quoting marks and what a terminal puts around a paste; {reason}_NOT_ONE for what is longer than
// any.
absl::StatusOr<Secret> StripPasted(const ArmorFormat& format, const Secret& pasted);
// How much of a text there is in what was stripped as above.
PastedPart JudgePart(const ArmorFormat& format, absl::string_view text);

// Fields: not_after (5) and what has its size in a byte before it.
std::string EncodeTime(absl::Time time);
bool FitsTime(absl::Time time);
std::string Sized(absl::string_view text);
// host:port of printable ASCII, so that an address may be shown on a terminal.
bool IsAddress(absl::string_view address);

// Takes the next bytes of fields, of a given size or of the size that stands before them.
class FieldReader {
 public:
  explicit FieldReader(absl::string_view fields) : fields_(fields) {}
  absl::string_view Take(size_t size);
  absl::string_view TakeSized();
  absl::Time TakeTime();
  bool good_to_the_end() const { return good_ && fields_.empty(); }

 private:
  absl::string_view fields_;
  bool good_ = true;
};

}  // namespace parley::keys

#endif  // PARLEY_LIB_KEYS_ARMOR_H_
