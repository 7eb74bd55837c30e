// Copies what the services know into one archive while they run, and puts it back.
//
// The archive is the same for every engine: a service whose data are in an etcd has them in the archive as the database
// that it would have on one machine. So a backup of either can be restored to either.
//
// Guarantees: each service's part is as it was at one moment; keyd's moment is the last, so that nothing in the others'
// parts refers to a key, certificate or root epoch that keyd's part lacks (docs/adr/0007-backup.md). A file at its
// place is a whole backup that was read back and compared. A restore puts everything at its place by one rename, after
// the last byte has proved authentic, or nothing.
//
// Does not copy a key-encryption key that is kept outside the data (keyd --kek-file), payload content in a folder of
// its own (taskd --chunks), nor logs.
//
// Threads: free functions; they block. One backup of a folder at a time.
#ifndef PARLEY_LIB_BACKUP_BACKUP_H_
#define PARLEY_LIB_BACKUP_BACKUP_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/backup/archive.h"
#include "lib/base/secret.h"
#include "lib/store/open_store.h"

namespace parley::backup {

struct Summary {
  Label label;
  std::vector<ArchiveEntry> entries;
  // Folders of payload content (taskd --chunks), which a backup refers to and does not have. Only Backup and BackupInto
  // know.
  std::vector<std::string> elsewhere;
  // The SHA-256 of the content.
  std::string digest;
};

// Where the services have what they know.
struct BackupPlaces {
  // The folder that has those of the services (keyd, taskd, enrolld), or is the folder of one; empty for none.
  std::string data;
  // Stores that take the place of databases in those folders, with what is needed to open them: an etcd for all
  // services under its prefix, a database for the service that it says it is of.
  std::vector<store::StoreOptions> stores;
  // Files that services read from elsewhere: keyd's key-encryption key and taskd's sealing key; empty for those in the
  // folders, if there are any.
  std::string kek_file;
  std::string seal_key_file;
};

// Backs up the services that are there into the file `out`. Needs space there for the archive, for a copy of a database
// in each service's folder in turn, and for those of an etcd beside `out`. Returns ALREADY_EXISTS (FILE_EXISTS);
// NOT_FOUND (NOTHING_TO_BACK_UP); ABORTED (BACKUP_RUNNING); PERMISSION_DENIED (BACKUP_OTHER_USER) for root on another
// user's folder; FAILED_PRECONDITION (STORE_OWNER_UNKNOWN); STORE_DAMAGED; DATA_LOSS (BACKUP_DAMAGED) if what was
// written does not read back; the errors of StoreCopy or of files.
absl::StatusOr<Summary> Backup(const BackupPlaces& places, const std::string& out, const Secret& password);

// Backs up into a pipe, which nobody can read back: CheckBackup does it once the archive is in a file. The copies of an
// etcd's data are made in the folder for temporary files. Returns the errors of Backup that concern the data.
absl::StatusOr<Summary> BackupInto(int fd, const BackupPlaces& places, const Secret& password);

// Reads an archive to its end without keeping anything. `fd` is borrowed; errors call it `path`. Returns the errors of
// ArchiveReader.
absl::StatusOr<Summary> CheckBackup(int fd, const std::string& path, const Secret& password);

// Puts an archive's data back: that of one service into {data}/{service}, that of several as {data}. The files get mode
// 0600 and belong to this user. With a `store`, the databases are copied to it, and only the other files go into
// folders: an etcd takes all services, a database takes one. Services open the store once everything is there. A
// process that is killed leaves {place}.restoring-XXXXXX, which may be removed, and a store that no service opens and
// that another restore begins anew. Returns FAILED_PRECONDITION (RESTORE_NOT_EMPTY) if there is something at that
// place, INVALID_ARGUMENT (RESTORE_STORE) for a database and several services, or the errors of ArchiveReader, of
// StoreCopy and of files.
absl::StatusOr<Summary> Restore(int fd, const std::string& path, const Secret& password, const std::string& data,
                                const store::StoreOptions& store = {});

}  // namespace parley::backup

#endif  // PARLEY_LIB_BACKUP_BACKUP_H_
