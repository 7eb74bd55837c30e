// Bytes of any length, sealed piece by piece under one key and written to a file or a pipe.
//
// Guarantees: what a reader gets is the beginning of what was written; that it is all of it is known when the end is.
// A piece that was changed, moved, repeated or left out is found before a byte of it is given out, and so are a cut
// and bytes behind the end. docs/protocol/backup.md has the layout.
//
// Threads: as any value.
#ifndef PARLEY_LIB_BACKUP_SEALED_STREAM_H_
#define PARLEY_LIB_BACKUP_SEALED_STREAM_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/base/secret.h"
#include "lib/crypto/aead.h"

namespace parley::backup {

inline constexpr size_t kPieceBytes = 1 << 20;

// Fills the buffer; fewer bytes only at the end of the file.
absl::StatusOr<size_t> ReadUpTo(int fd, const std::string& path, uint8_t* buffer, size_t size);
// DATA_LOSS (BACKUP_DAMAGED).
absl::Status Damaged(const std::string& path);

class SealedWriter {
 public:
  // The key has 32 bytes and seals nothing but this stream. `fd` is borrowed; `path` is what errors call it.
  SealedWriter(const Secret& key, int fd, std::string path);

  absl::Status Write(absl::string_view bytes);
  // Writes what is left, as the last piece. Once.
  absl::Status Finish();

 private:
  absl::Status WritePiece(bool last);

  const crypto::Aead aead_;
  const int fd_;
  const std::string path_;
  Secret piece_;
  size_t size_ = 0;
  uint64_t number_ = 0;
};

class SealedReader {
 public:
  SealedReader(const Secret& key, int fd, std::string path);

  // The next bytes; none at the end. DATA_LOSS (BACKUP_DAMAGED), and then for ever.
  absl::StatusOr<Secret> Read();

 private:
  absl::StatusOr<Secret> ReadPiece();

  const crypto::Aead aead_;
  const int fd_;
  const std::string path_;
  uint64_t number_ = 0;
  bool ended_ = false;
  bool damaged_ = false;
};

}  // namespace parley::backup

#endif  // PARLEY_LIB_BACKUP_SEALED_STREAM_H_
