// Files that survive a crash and do not show their content to others.
//
// Errors of all functions name the path and what to do. Reasons: FILE_NOT_FOUND, FILE_PERMISSION, FILE_TOO_LARGE,
// FILE_EXPOSED, DISK_FULL, DISK_READ_ONLY, FILE_IO.
#ifndef PARLEY_LIB_BASE_FILE_H_
#define PARLEY_LIB_BASE_FILE_H_

#include <sys/types.h>

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/base/secret.h"

namespace parley {

// The error of a failed system call on a path: "cannot {doing} {path}: …", code and reason from errno.
absl::Status FileError(absl::string_view doing, absl::string_view path, int error_number);

// A regular file's whole content; FILE_TOO_LARGE when it is longer than `max_bytes`.
absl::StatusOr<std::string> ReadFile(const std::string& path, size_t max_bytes);

// As ReadFile, for secrets: FILE_EXPOSED unless it is a regular file of this user (or root) without any
// permission for group and others.
absl::StatusOr<Secret> ReadSecretFile(const std::string& path, size_t max_bytes);

// Replaces the file: a reader, and a restart after a crash, sees the old content or the new. Durable on return.
absl::Status WriteFileAtomically(const std::string& path, absl::string_view content, mode_t mode);

// As above with mode 0600.
absl::Status WriteSecretFile(const std::string& path, const Secret& content);

// All of the bytes, into an open file or pipe; `path` is what errors call it.
absl::Status WriteAll(int fd, const std::string& path, absl::string_view bytes);

// What stands before the last slash: "." without one, "/" for what is in the root.
std::string FolderOf(const std::string& path);

// Makes the folder and those above it; a folder that it makes gets `mode`. Existing ones stay as they are.
absl::Status MakeFolders(const std::string& path, mode_t mode);

// Makes a rename, creation or removal in this folder durable.
absl::Status SyncFolder(const std::string& path);

}  // namespace parley

#endif  // PARLEY_LIB_BASE_FILE_H_
