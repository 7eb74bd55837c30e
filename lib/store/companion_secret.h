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
  // The paths of the secret and of the database, for errors.
  std::string path;
  std::string database;
  // "the sealing key", and the reason of the error if it is missing.
  std::string what;
  std::string missing;
  // `read` returns the secret from a file, or NOT_FOUND if there is none; `make` makes it and writes it.
  std::function<absl::StatusOr<Secret>(const std::string& path)> read;
  std::function<absl::StatusOr<Secret>(const std::string& path)> make;
};

// Returns the secret. `has_data` says whether the database is there. If neither is there, the secret is made. Returns
// FAILED_PRECONDITION with the reason `missing` or DATABASE_MISSING, or the errors of `read` and `make`.
absl::StatusOr<Secret> FindCompanionSecret(const CompanionSecret& companion, bool has_data);
// Checks the same for --check-config without making anything; OK if both would be made. Returns the errors of
// FindCompanionSecret.
absl::Status CheckCompanionSecret(const CompanionSecret& companion, bool has_data);
// Says that the database is there, so that the secret stands. Repeating it changes nothing. Returns the errors of
// files.
absl::Status KeepCompanionSecret(const CompanionSecret& companion);

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_COMPANION_SECRET_H_
