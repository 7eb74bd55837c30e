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

// Returns DATA_LOSS (BACKUP_DAMAGED).
absl::Status Damaged(const std::string& path);

class SealedWriter {
 public:
  // `key` has 32 bytes and seals nothing but this stream. `fd` is borrowed; errors call it `path`.
  SealedWriter(const Secret& key, int fd, std::string path);

  // Seals and writes the bytes, a piece at a time. Returns the errors of WriteAll.
  absl::Status Write(absl::string_view bytes);
  // Writes the rest as the last piece. Must be called once, at the end. Returns the errors of WriteAll.
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

  // Returns the next bytes, and none at the end. Returns DATA_LOSS (BACKUP_DAMAGED), and from then on always.
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
