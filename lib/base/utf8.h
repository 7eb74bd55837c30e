// Whether bytes are UTF-8, strictly: nothing overlong, no surrogates, nothing above U+10FFFF.
//
// Threads: a free function without state.
#ifndef PARLEY_LIB_BASE_UTF8_H_
#define PARLEY_LIB_BASE_UTF8_H_

#include "absl/strings/string_view.h"

namespace parley {

bool IsUtf8(absl::string_view bytes);

}  // namespace parley

#endif  // PARLEY_LIB_BASE_UTF8_H_
