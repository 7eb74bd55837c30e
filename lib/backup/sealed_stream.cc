#include "lib/backup/sealed_stream.h"

#include <string.h>

#include <algorithm>
#include <utility>

#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

namespace parley::backup {
namespace {

// In the length before a piece this bit marks the last one. It is authentic, because the nonce says so too.
constexpr uint32_t kLast = 1U << 31;
constexpr size_t kLengthBytes = 4;

std::string Nonce(uint64_t number, bool last) { return BigEndian(number, 8) + BigEndian(last ? 1 : 0, 4); }

}  // namespace

absl::Status Damaged(const std::string& path) {
  return DataLoss("BACKUP_DAMAGED", path, " is damaged or cut short; use another copy of it, or another backup");
}

SealedWriter::SealedWriter(const Secret& key, int fd, std::string path)
    : aead_(*crypto::Aead::Create(key)), fd_(fd), path_(std::move(path)), piece_(kPieceBytes) {}

absl::Status SealedWriter::Write(absl::string_view bytes) {
  while (!bytes.empty()) {
    // Only now: the last piece is not known to be full until more comes.
    if (size_ == kPieceBytes) RETURN_IF_ERROR(WritePiece(/*last=*/false));
    const size_t count = std::min(bytes.size(), kPieceBytes - size_);
    memcpy(piece_.mutable_bytes() + size_, bytes.data(), count);
    size_ += count;
    bytes.remove_prefix(count);
  }
  return absl::OkStatus();
}

absl::Status SealedWriter::Finish() { return WritePiece(/*last=*/true); }

absl::Status SealedWriter::WritePiece(bool last) {
  const std::string sealed = aead_.Seal(Nonce(number_++, last), piece_.Expose().substr(0, size_), "");
  size_ = 0;
  RETURN_IF_ERROR(
      WriteAll(fd_, path_, BigEndian(static_cast<uint32_t>(sealed.size()) | (last ? kLast : 0), kLengthBytes)));
  return WriteAll(fd_, path_, sealed);
}

SealedReader::SealedReader(const Secret& key, int fd, std::string path)
    : aead_(*crypto::Aead::Create(key)), fd_(fd), path_(std::move(path)) {}

absl::StatusOr<Secret> SealedReader::Read() {
  if (damaged_) return Damaged(path_);
  if (ended_) return Secret();
  absl::StatusOr<Secret> piece = ReadPiece();
  damaged_ = !piece.ok();
  return piece;
}

absl::StatusOr<Secret> SealedReader::ReadPiece() {
  std::string length(kLengthBytes, '\0');
  ASSIGN_OR_RETURN(const size_t got, ReadUpTo(fd_, path_, length.data(), kLengthBytes));
  if (got != kLengthBytes) return Damaged(path_);
  auto size = static_cast<uint32_t>(FromBigEndian(length));
  const bool last = (size & kLast) != 0;
  size &= ~kLast;
  // Every piece but the last is full.
  if (size > kPieceBytes + crypto::kAeadTagBytes || (!last && size != kPieceBytes + crypto::kAeadTagBytes)) {
    return Damaged(path_);
  }
  std::string sealed(size, '\0');
  ASSIGN_OR_RETURN(const size_t filled, ReadUpTo(fd_, path_, sealed.data(), size));
  if (filled != size) return Damaged(path_);
  absl::StatusOr<Secret> piece = aead_.Open(Nonce(number_++, last), sealed, "");
  if (!piece.ok()) return Damaged(path_);
  if (!last) return piece;
  ended_ = true;
  uint8_t more = 0;
  ASSIGN_OR_RETURN(const size_t behind, ReadUpTo(fd_, path_, &more, 1));
  if (behind != 0) return Damaged(path_);
  return piece;
}

}  // namespace parley::backup
