// Whether a new file could be made, so that a program refuses before it has done anything.
//
// Threads: free functions without state.
#ifndef PARLEY_CLIENTS_OPERATOR_NEW_FILE_H_
#define PARLEY_CLIENTS_OPERATOR_NEW_FILE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace parley::ops {

// Returns OK if a new file could be made at `path`. `what` is how the sentence calls it: "the join key". Returns
// ALREADY_EXISTS (FILE_EXISTS), or the errors of CanWriteTo.
absl::Status CanCreate(const std::string& path, absl::string_view what);
// Returns OK if a new file could be made in the folder, or the errors of FileError (lib/base/file.h).
absl::Status CanWriteTo(const std::string& folder, absl::string_view what);

}  // namespace parley::ops

#endif  // PARLEY_CLIENTS_OPERATOR_NEW_FILE_H_
