// A secret while a person is still pasting or typing it: whether more of it has to come. A key that mail has folded
// over several lines must be read to its end, or the rest of it would reach the shell behind the prompt, and its
// history.
//
// White space, quoting marks and line breaks anywhere are ignored, as ParseJoinKey and ParseInvitationLink ignore them.
//
// Threads: free functions without state.
#ifndef PARLEY_LIB_KEYS_PASTING_H_
#define PARLEY_LIB_KEYS_PASTING_H_

#include <cstddef>

#include "lib/base/secret.h"

namespace parley::keys {

// More than any secret takes, with what may stand between its letters.
inline constexpr size_t kMaxPastingBytes = 16384;

enum class PastedPart {
  // The beginning of one. More has to come.
  kSome,
  // As long as its header says that it is. Whether it is good is what the parser says.
  kWhole,
  // No beginning of one, or one in which a wrong letter hides how long it is. The parser has the sentence.
  kNone,
};

PastedPart JudgePastedJoinKey(const Secret& pasted);
PastedPart JudgePastedInvitationLink(const Secret& pasted);

}  // namespace parley::keys

#endif  // PARLEY_LIB_KEYS_PASTING_H_
