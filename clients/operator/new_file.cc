#include "clients/operator/new_file.h"

#include <errno.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

namespace parley::ops {

absl::Status CanCreate(const std::string& path, absl::string_view what) {
  if (::access(path.c_str(), F_OK) == 0) {
    return Error(absl::StatusCode::kAlreadyExists, "FILE_EXISTS",
                 absl::StrCat(path, " exists already; move it away or choose another place for ", what));
  }
  return CanWriteTo(FolderOf(path), what);
}

absl::Status CanWriteTo(const std::string& folder, absl::string_view what) {
  // With a slash, so that it must be a folder.
  if (::access((folder + "/").c_str(), W_OK | X_OK) == 0) return absl::OkStatus();
  const absl::Status why = FileError(absl::StrCat("write ", what, " to"), folder, errno);
  return Error(why.code(), Reason(why), absl::StrCat(why.message(), "; choose another place for it"));
}

}  // namespace parley::ops
