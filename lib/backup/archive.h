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
  // When the backup was made, to the second.
  absl::Time time;
  // The services whose data it has, in the order in which they were copied.
  std::vector<std::string> services;
};

struct ArchiveEntry {
  std::string name;
  uint64_t bytes = 0;
};

class ArchiveWriter {
 public:
  // Begins an archive in `fd`, which is borrowed; errors call it `path`. Argon2id takes 128 MiB and some tenths of a
  // second. Returns RESOURCE_EXHAUSTED (DEVICE_FILE_MEMORY) if there is not that much memory, or the errors of
  // FileError.
  static absl::StatusOr<std::unique_ptr<ArchiveWriter>> Create(int fd, const std::string& path, const Secret& password,
                                                               const Label& label);
  ~ArchiveWriter();

  // Begins the next entry, whose bytes follow by Write. Returns INTERNAL if the entry before did not get as many bytes
  // as it announced.
  absl::Status Begin(const ArchiveEntry& entry);
  absl::Status Write(absl::string_view bytes);
  // Writes the end, and returns the SHA-256 of the content. May be called once. Returns the errors of Begin.
  absl::StatusOr<std::string> Finish();

 private:
  class Impl;
  explicit ArchiveWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

class ArchiveReader {
 public:
  // Begins to read `fd`, which is borrowed and read once, from where it stands. Returns UNAUTHENTICATED
  // (BACKUP_PASSWORD) for another password, INVALID_ARGUMENT for what is no backup (BACKUP_NOT_ONE) or one of a newer
  // version (BACKUP_VERSION), and like every method DATA_LOSS (BACKUP_DAMAGED).
  static absl::StatusOr<std::unique_ptr<ArchiveReader>> Open(int fd, const std::string& path, const Secret& password);
  ~ArchiveReader();

  const Label& label() const;
  // Goes on to the next entry, past what was not read of this one. Returns false after the last entry, once all was
  // authentic, or DATA_LOSS (BACKUP_DAMAGED).
  absl::StatusOr<bool> Next(ArchiveEntry* entry);
  // Returns the entry's next bytes, which live until the next call; none at its end. Returns DATA_LOSS
  // (BACKUP_DAMAGED).
  absl::StatusOr<absl::string_view> Read();
  // Returns the SHA-256 of the content, once Next has returned false.
  const std::string& digest() const;

 private:
  class Impl;
  explicit ArchiveReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace parley::backup

#endif  // PARLEY_LIB_BACKUP_ARCHIVE_H_
