// Codes as people read them aloud: large, and spelled.
#ifndef PARLEY_CLIENTS_CLI_LARGE_CODE_H_
#define PARLEY_CLIENTS_CLI_LARGE_CODE_H_

#include <string>
#include <vector>

#include "lib/base/secret.h"

namespace parley::cli {

// Five lines of block letters.
std::vector<Secret> LargeCode(const Secret& code);
// "K 7 Q X".
Secret SpacedCode(const Secret& code);
// "K as in Kilo, 7 as in seven, …".
Secret SpelledCode(const Secret& code);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_LARGE_CODE_H_
