#include "lib/store/companion_secret.h"

#include <errno.h>
#include <stdio.h>

#include "lib/base/error.h"
#include "lib/base/file.h"

namespace parley::store {
namespace {

std::string UnkeptPath(const CompanionSecret& companion) { return companion.path + ".new"; }

// The secret wherever it stands; NOT_FOUND when it has to be made.
absl::StatusOr<Secret> Find(const CompanionSecret& companion, bool has_data) {
  absl::StatusOr<Secret> kept = companion.read(companion.path);
  if (kept.ok() && !has_data) {
    return FailedPrecondition("DATABASE_MISSING", "there is ", companion.what, " ", companion.path,
                              ", but nothing in its database ", companion.database,
                              "; restore that from a backup, or move the whole folder away to begin anew");
  }
  if (!absl::IsNotFound(kept.status())) return kept;
  absl::StatusOr<Secret> unkept = companion.read(UnkeptPath(companion));
  if (!absl::IsNotFound(unkept.status()) || !has_data) return unkept;
  return FailedPrecondition(companion.missing, companion.what, " ", companion.path,
                            " is missing; put the file back from a backup");
}

}  // namespace

absl::StatusOr<Secret> FindCompanionSecret(const CompanionSecret& companion, bool has_data) {
  absl::StatusOr<Secret> found = Find(companion, has_data);
  if (absl::IsNotFound(found.status())) return companion.make(UnkeptPath(companion));
  return found;
}

absl::Status CheckCompanionSecret(const CompanionSecret& companion, bool has_data) {
  const absl::Status found = Find(companion, has_data).status();
  return absl::IsNotFound(found) ? absl::OkStatus() : found;
}

absl::Status KeepCompanionSecret(const CompanionSecret& companion) {
  if (rename(UnkeptPath(companion).c_str(), companion.path.c_str()) != 0) {
    return errno == ENOENT ? absl::OkStatus() : FileError("rename", UnkeptPath(companion), errno);
  }
  return SyncFolder(companion.path.substr(0, companion.path.rfind('/')));
}

}  // namespace parley::store
