// Errors that several steps of an update have in common.
//
// Threads: pure functions.
#ifndef PARLEY_CLIENTS_AGENT_TARGET_ERROR_H_
#define PARLEY_CLIENTS_AGENT_TARGET_ERROR_H_

#include <errno.h>

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

namespace parley::agent {

// Makes the error for what the target cannot take as it is: FAILED_PRECONDITION with this reason and sentence.
inline absl::Status Refuse(absl::string_view reason, absl::string_view sentence) {
  return Error(absl::StatusCode::kFailedPrecondition, reason, sentence);
}

// Makes the error TARGET_CONFLICT for something at `path` where the payload needs a "file", "folder" or "link".
inline absl::Status InTheWay(absl::string_view path, absl::string_view needed) {
  return Refuse("TARGET_CONFLICT", absl::StrCat(path, " is in the way: the payload needs a ", needed,
                                                " there; move it away and try again"));
}

// Makes the error of an entry that cannot be copied as it is: "cannot {doing} {path}: …". It is TARGET_COPY if the
// entry, its owner or its attributes are the cause, so that only a method that leaves the entry where it is gets on,
// and that of lib/base/file.h if the machine is short of something, which passes.
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
      return Refuse("TARGET_COPY", absl::StrCat("cannot ", doing, " ", shown, ": ", ErrnoText(error)));
  }
}

// Makes the error OLD_SET_LOST: what a rollback should have put at `path` again is not in the place any more.
inline absl::Status OldSetLost(absl::string_view path, absl::string_view place) {
  return Error(absl::StatusCode::kDataLoss, "OLD_SET_LOST",
               absl::StrCat("somebody, perhaps a command, took what was at ", path, " before the update out of ", place,
                            ", so that it cannot come back and what is there now stays; put the ",
                            "old files there by hand, or publish a revision"));
}

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_TARGET_ERROR_H_
