// The error of an entry in a target that cannot be copied as it is.
#ifndef PARLEY_CLIENTS_AGENT_COPY_ERROR_H_
#define PARLEY_CLIENTS_AGENT_COPY_ERROR_H_

#include <errno.h>

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

namespace parley::agent {

// Returns "cannot {doing} {path}: …". TARGET_COPY when the entry, its owner or its attributes are the cause, so that
// only a method that leaves it where it is gets on; the error of lib/base/file.h when the machine is short of
// something, which passes.
inline absl::Status CopyError(absl::string_view doing, absl::string_view path, int error) {
  constexpr size_t kShown = 400;
  // A tree may be deeper than any path, and nobody reads 30,000 characters.
  const std::string shown =
      path.size() <= kShown ? std::string(path)
                            : absl::StrCat(path.substr(0, kShown / 2), " ... ", path.substr(path.size() - kShown / 2));
  switch (error) {
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOSPC:
    case EDQUOT:
    case EROFS:
    case EINTR:
    case EAGAIN:
      return FileError(doing, shown, error);
    default:
      return Error(absl::StatusCode::kFailedPrecondition, "TARGET_COPY",
                   absl::StrCat("cannot ", doing, " ", shown, ": ", ErrnoText(error)));
  }
}

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_COPY_ERROR_H_
