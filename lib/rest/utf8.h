// Whether bytes are UTF-8, strictly: nothing overlong, no surrogates, nothing above U+10FFFF.
#ifndef PARLEY_LIB_REST_UTF8_H_
#define PARLEY_LIB_REST_UTF8_H_

#include "absl/strings/string_view.h"

namespace parley::rest {

bool IsUtf8(absl::string_view bytes);

}  // namespace parley::rest

#endif  // PARLEY_LIB_REST_UTF8_H_
