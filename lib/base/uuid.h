// The text form of UUIDs. crypto::RandomUuid makes them.
//
// Threads: a pure function.
#ifndef PARLEY_LIB_BASE_UUID_H_
#define PARLEY_LIB_BASE_UUID_H_

#include "absl/strings/string_view.h"

namespace parley {

// Returns whether `text` is like "6f1b0a34-0c5e-4f0c-9f53-0f7c6c9a3a11", in either case and of any version.
bool IsUuid(absl::string_view text);

}  // namespace parley

#endif  // PARLEY_LIB_BASE_UUID_H_
