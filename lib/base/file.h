// Reads and writes files that survive a crash and do not show their content to others.
//
// The errors of all functions name the path and say what to do. Their reasons are FILE_NOT_FOUND, FILE_PERMISSION,
// FILE_TOO_LARGE, FILE_EXPOSED, DISK_FULL, DISK_READ_ONLY and FILE_IO.
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

// Makes the error of a failed system call on a path: "cannot {doing} {path}: …", with code and reason from errno.
absl::Status FileError(absl::string_view doing, absl::string_view path, int error_number);

// Returns a regular file's whole content, or FILE_TOO_LARGE if it has more than `max_bytes`.
absl::StatusOr<std::string> ReadFile(const std::string& path, size_t max_bytes);

// Reads a secret in the way of ReadFile. Returns FILE_EXPOSED unless it is a regular file of this user or root, without
// any permission for group and others.
absl::StatusOr<Secret> ReadSecretFile(const std::string& path, size_t max_bytes);

// Replaces the file, durably: a reader, and a restart after a crash, sees the old content or the new.
absl::Status WriteFileAtomically(const std::string& path, absl::string_view content, mode_t mode);

// Replaces the file in the same way, with mode 0600.
absl::Status WriteSecretFile(const std::string& path, const Secret& content);

// Fills the buffer from an open file or pipe, with fewer bytes only at its end; errors call it `path`.
absl::StatusOr<size_t> ReadUpTo(int fd, const std::string& path, void* buffer, size_t size);

// Writes all of the bytes into an open file or pipe; errors call it `path`.
absl::Status WriteAll(int fd, const std::string& path, absl::string_view bytes);

// Returns what stands before the last slash: "." if there is none, "/" for a file in the root.
std::string FolderOf(const std::string& path);

// Makes the folder and those above it. Each folder that it makes gets `mode`; existing ones stay unchanged.
absl::Status MakeFolders(const std::string& path, mode_t mode);

// Makes a rename, creation or removal in this folder durable.
absl::Status SyncFolder(const std::string& path);

}  // namespace parley

#endif  // PARLEY_LIB_BASE_FILE_H_
