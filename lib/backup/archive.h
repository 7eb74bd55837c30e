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
#include "lib/backup/sealed_stream.h"
#include "lib/base/secret.h"
#include "lib/crypto/hash.h"

// zstd's, so that this header needs none of its headers.
struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

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

  // Begins the next entry, whose bytes follow by Write. Returns INTERNAL if the entry before did not get as many bytes
  // as it announced.
  absl::Status Begin(const ArchiveEntry& entry);
  absl::Status Write(absl::string_view bytes);
  // Writes the end, and returns the SHA-256 of the content. May be called once. Returns the errors of Begin.
  absl::StatusOr<std::string> Finish();

 private:
  ArchiveWriter(const Secret& key, int fd, const std::string& path);
  absl::Status Add(absl::string_view bytes);
  absl::Status CheckWhole() const;
  absl::Status Compress(absl::string_view bytes, bool end);

  SealedWriter sealed_;
  const std::unique_ptr<ZSTD_CCtx_s, size_t (*)(ZSTD_CCtx_s*)> zstd_;
  Secret buffer_;
  crypto::Sha256Stream digest_;
  uint64_t left_ = 0;
};

class ArchiveReader {
 public:
  // Begins to read `fd`, which is borrowed and read once, from where it stands. Returns UNAUTHENTICATED
  // (BACKUP_PASSWORD) for another password, INVALID_ARGUMENT for what is no backup (BACKUP_NOT_ONE) or one of a newer
  // version (BACKUP_VERSION), and like every method DATA_LOSS (BACKUP_DAMAGED).
  static absl::StatusOr<std::unique_ptr<ArchiveReader>> Open(int fd, const std::string& path, const Secret& password);

  const Label& label() const { return label_; }
  // Goes on to the next entry, past what was not read of this one. Returns false after the last entry, once all was
  // authentic, or DATA_LOSS (BACKUP_DAMAGED).
  absl::StatusOr<bool> Next(ArchiveEntry* entry);
  // Returns the entry's next bytes, which live until the next call; none at its end. Returns DATA_LOSS
  // (BACKUP_DAMAGED).
  absl::StatusOr<absl::string_view> Read();
  // Returns the SHA-256 of the content, once Next has returned false.
  const std::string& digest() const { return digest_; }

 private:
  ArchiveReader(const Secret& key, int fd, const std::string& path);
  absl::Status ReadLabel();
  // Takes at least one byte and at most `most`; none only when `most` is 0.
  absl::StatusOr<absl::string_view> Take(uint64_t most);
  absl::StatusOr<std::string> TakeAll(size_t size);
  absl::StatusOr<uint64_t> TakeNumber(size_t size);
  absl::StatusOr<std::string> TakeName();
  // Fills the buffer again; possibly with nothing.
  absl::Status Expand();
  // Checks that nothing more is in the buffer, the frame or the stream.
  absl::Status CheckEnd();

  const std::string path_;
  SealedReader sealed_;
  const std::unique_ptr<ZSTD_DCtx_s, size_t (*)(ZSTD_DCtx_s*)> zstd_;
  Secret piece_;
  size_t piece_at_ = 0;
  // What was expanded, and how much of it was taken.
  Secret buffer_;
  size_t at_ = 0, filled_ = 0;
  size_t frame_left_ = 1;
  Label label_;
  uint64_t left_ = 0;
  crypto::Sha256Stream hash_;
  std::string digest_;
};

}  // namespace parley::backup

#endif  // PARLEY_LIB_BACKUP_ARCHIVE_H_
