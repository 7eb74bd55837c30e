// Codes as people read them aloud: large, and spelled.
//
// Threads: pure functions.
#ifndef PARLEY_CLIENTS_CLI_LARGE_CODE_H_
#define PARLEY_CLIENTS_CLI_LARGE_CODE_H_

#include <vector>

#include "lib/base/secret.h"

namespace parley::cli {

// Returns the code as five lines of block letters.
std::vector<Secret> LargeCode(const Secret& code);
// Returns "K 7 Q X".
Secret SpacedCode(const Secret& code);
// Returns "K as in Kilo, 7 as in seven, …".
Secret SpelledCode(const Secret& code);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_LARGE_CODE_H_
