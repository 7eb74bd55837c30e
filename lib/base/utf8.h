// Reads UTF-8 strictly (RFC 3629): nothing overlong, no surrogates, nothing above U+10FFFF.
//
// Threads: free functions without state.
#ifndef PARLEY_LIB_BASE_UTF8_H_
#define PARLEY_LIB_BASE_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"

namespace parley {

struct CodePoint {
  uint32_t value = 0;
  // The number of its bytes, 1 to 4.
  size_t bytes = 0;
};

// Returns the code point at the front of `text`, or no value if there is none or `text` is empty.
std::optional<CodePoint> FirstCodePoint(absl::string_view text);

bool IsUtf8(absl::string_view bytes);

}  // namespace parley

#endif  // PARLEY_LIB_BASE_UTF8_H_
