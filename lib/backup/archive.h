// The archive of a backup: named files, compressed, sealed by a password, written and read as one stream.
//
// Guarantees: without the password nothing of it can be read, not even names; a wrong password, a changed bit, a cut,
// pieces in another order and bytes behind the end are found (sealed_stream.h). A reader must not believe in the whole
// before Next() has said that there is no more. docs/protocol/backup.md has the layout.
//
// Threads: as any value.
//
//   ASSIGN_OR_RETURN(auto archive, ArchiveWriter::Create(fd, path, password, {absl::Now(), {"keyd"}}));
//   RETURN_IF_ERROR(archive->Begin({"keyd/kek", 32}));
//   RETURN_IF_ERROR(archive->Write(bytes));
//   ASSIGN_OR_RETURN(const std::string digest, archive->Finish());
#ifndef PARLEY_LIB_BACKUP_ARCHIVE_H_
#define PARLEY_LIB_BACKUP_ARCHIVE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/base/secret.h"

namespace parley::backup {

// What an archive says of itself.
struct Label {
  // To the second.
  absl::Time time;
  // Whose data it has, in the order in which they were copied.
  std::vector<std::string> services;
};

struct ArchiveEntry {
  std::string name;
  uint64_t bytes = 0;
};

class ArchiveWriter {
 public:
  // Begins an archive in `fd`, which is borrowed; `path` is what errors call it. Argon2id: takes 128 MiB and some
  // tenths of a second. RESOURCE_EXHAUSTED (DEVICE_FILE_MEMORY); the errors of FileError.
  static absl::StatusOr<std::unique_ptr<ArchiveWriter>> Create(int fd, const std::string& path, const Secret& password,
                                                               const Label& label);
  ~ArchiveWriter();

  // The next entry, whose bytes follow by Write. INTERNAL when the one before has not had as many as it said.
  absl::Status Begin(const ArchiveEntry& entry);
  absl::Status Write(absl::string_view bytes);
  // Writes the end; the SHA-256 of the content. Once.
  absl::StatusOr<std::string> Finish();

 private:
  class Impl;
  explicit ArchiveWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

class ArchiveReader {
 public:
  // UNAUTHENTICATED (BACKUP_PASSWORD): another password. INVALID_ARGUMENT: BACKUP_NOT_ONE, BACKUP_VERSION. DATA_LOSS
  // (BACKUP_DAMAGED), as of every method. `fd` is borrowed and read once, from where it is.
  static absl::StatusOr<std::unique_ptr<ArchiveReader>> Open(int fd, const std::string& path, const Secret& password);
  ~ArchiveReader();

  const Label& label() const;
  // Goes on to the next entry, past what was not read of this one; false when that was the last, and all was authentic.
  absl::StatusOr<bool> Next(ArchiveEntry* entry);
  // The entry's next bytes, until the next call; none at its end.
  absl::StatusOr<absl::string_view> Read();
  // Of the content, once Next has said that there is no more.
  const std::string& digest() const;

 private:
  class Impl;
  explicit ArchiveReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace parley::backup

#endif  // PARLEY_LIB_BACKUP_ARCHIVE_H_
