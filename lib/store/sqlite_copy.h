// Copies a SQLite store in the state of one moment, while its service goes on, for backups.
#ifndef PARLEY_LIB_STORE_SQLITE_COPY_H_
#define PARLEY_LIB_STORE_SQLITE_COPY_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace parley::store {

// Copies the store at `from` into the file `to`, which exists and is empty, and checks every page and index of the
// copy. Blocks. Readers and commits of the service go on meanwhile; once 64 MB have been committed, a commit waits up
// to ten seconds for the copy. Returns DATA_LOSS (STORE_DAMAGED) if the store or the copy is damaged, or the other
// errors of store.h.
absl::Status CopySqliteStore(const std::string& from, const std::string& to);

// Reads a key of such a copy, which nobody has open as a store. Returns NOT_FOUND (KEY_NOT_FOUND), or the other errors
// of store.h.
absl::StatusOr<std::string> ReadFromCopy(const std::string& path, absl::string_view key);

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_SQLITE_COPY_H_
