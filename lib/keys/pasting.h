// Tells whether more has to come of a secret that a person is still pasting or typing. A key that mail has folded over
// several lines must be read to its end: the rest of it would else reach the shell behind the prompt, and its history.
//
// White space, quoting marks and line breaks are ignored anywhere, as ParseJoinKey and ParseInvitationLink do.
//
// Threads: free functions without state.
#ifndef PARLEY_LIB_KEYS_PASTING_H_
#define PARLEY_LIB_KEYS_PASTING_H_

#include <cstddef>

#include "lib/base/secret.h"

namespace parley::keys {

// This is more than any secret takes, with what may stand between its letters.
inline constexpr size_t kMaxPastingBytes = 16384;

enum class PastedPart {
  // The beginning of a secret: more has to come.
  kSome,
  // It is as long as its header announces. The parser says whether it is good.
  kWhole,
  // It is no beginning of a secret, or one in which a wrong letter hides how long it is. The parser has the sentence.
  kNone,
};

PastedPart JudgePastedJoinKey(const Secret& pasted);
PastedPart JudgePastedInvitationLink(const Secret& pasted);

}  // namespace parley::keys

#endif  // PARLEY_LIB_KEYS_PASTING_H_
