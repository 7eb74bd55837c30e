// Copies what the services know into one archive while they run, and puts it back.
//
// Guarantees: each service's part is as it was at one moment; keyd's moment is the last, so that nothing in the others'
// parts refers to a key, certificate or root epoch that keyd's part lacks (docs/adr/0007-backup.md). A file at its
// place is a whole backup that was read back and compared. A restore puts everything at its place by one rename, after
// the last byte has proved authentic, or nothing.
//
// Does not copy a key-encryption key that is kept outside the data (keyd --kek-file), nor logs.
//
// Threads: free functions; they block. One backup of a folder at a time.
#ifndef PARLEY_LIB_BACKUP_BACKUP_H_
#define PARLEY_LIB_BACKUP_BACKUP_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/backup/archive.h"
#include "lib/base/secret.h"

namespace parley::backup {

struct Summary {
  Label label;
  std::vector<ArchiveEntry> entries;
  // The SHA-256 of the content.
  std::string digest;
};

// Backs up the services whose folders are in `data` (keyd, taskd, enrolld), or the one whose folder `data` is, into the
// file `out`. Needs space there for the archive and, in each service's folder in turn, for a copy of its database.
// Returns ALREADY_EXISTS (FILE_EXISTS); NOT_FOUND (NOTHING_TO_BACK_UP); ABORTED (BACKUP_RUNNING); PERMISSION_DENIED
// (BACKUP_OTHER_USER) for root on another user's folder; STORE_DAMAGED; DATA_LOSS (BACKUP_DAMAGED) if what was written
// does not read back; or the errors of files.
absl::StatusOr<Summary> Backup(const std::string& data, const std::string& out, const Secret& password);

// Backs up into a pipe, which nobody can read back: CheckBackup does it once the archive is in a file. Returns the
// errors of Backup that concern the data.
absl::StatusOr<Summary> BackupInto(int fd, const std::string& data, const Secret& password);

// Reads an archive to its end without keeping anything. `fd` is borrowed; errors call it `path`. Returns the errors of
// ArchiveReader.
absl::StatusOr<Summary> CheckBackup(int fd, const std::string& path, const Secret& password);

// Puts an archive's data back: that of one service into {data}/{service}, that of several as {data}. The files get mode
// 0600 and belong to this user. A process that is killed leaves {place}.restoring-XXXXXX, which may be removed. Returns
// FAILED_PRECONDITION (RESTORE_NOT_EMPTY) if there is something at that place, or the errors of ArchiveReader and of
// files.
absl::StatusOr<Summary> Restore(int fd, const std::string& path, const Secret& password, const std::string& data);

}  // namespace parley::backup

#endif  // PARLEY_LIB_BACKUP_BACKUP_H_
