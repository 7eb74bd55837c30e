// A secret in a file beside a database, of which neither is worth anything without the other: a key-encryption key, a
// sealing key.
//
//   ASSIGN_OR_RETURN(Secret key, FindCompanionSecret(companion, /*has_data=*/…));
//   … make the database …
//   RETURN_IF_ERROR(KeepCompanionSecret(companion));
//
// Guarantees: a secret without its database, or a database without its secret, is an error and never a reason to begin
// anew; a process that was killed between making the one and the other goes on where it was, as the secret stands under
// another name until the database is there.
//
// Threads: free functions without state.
#ifndef PARLEY_LIB_STORE_COMPANION_SECRET_H_
#define PARLEY_LIB_STORE_COMPANION_SECRET_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/secret.h"

namespace parley::store {

struct CompanionSecret {
  // Of the secret, and of the database, for errors.
  std::string path;
  std::string database;
  // "the sealing key"; reason of the error when it is missing.
  std::string what;
  std::string missing;
  // Reads the secret from a file, NOT_FOUND when there is none; makes it and writes it.
  std::function<absl::StatusOr<Secret>(const std::string& path)> read;
  std::function<absl::StatusOr<Secret>(const std::string& path)> make;
};

// `has_data`: whether the database is there. FAILED_PRECONDITION: `missing`, DATABASE_MISSING; the errors of `read` and
// `make`, which is called when neither is there.
absl::StatusOr<Secret> FindCompanionSecret(const CompanionSecret& companion, bool has_data);
// For --check-config: the same without making anything. OK when both would be made.
absl::Status CheckCompanionSecret(const CompanionSecret& companion, bool has_data);
// The database is there, so the secret stands. Repeating it changes nothing. The errors of files.
absl::Status KeepCompanionSecret(const CompanionSecret& companion);

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_COMPANION_SECRET_H_
