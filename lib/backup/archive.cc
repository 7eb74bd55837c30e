#include "lib/backup/archive.h"

#include <zstd.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/crypto/kdf.h"
#include "lib/device/seal.h"

namespace parley::backup {
namespace {

constexpr absl::string_view kMagic = "prb1";
constexpr size_t kKeyBytes = 32;
constexpr size_t kSealedKeyBytes = device::kFileHeaderBytes + kKeyBytes + crypto::kAeadTagBytes;
constexpr size_t kMaxNameBytes = 255;
constexpr int kCompressionLevel = 3;

std::string Name(absl::string_view name) { return absl::StrCat(BigEndian(name.size(), 1), name); }

// A wrong password and a damaged key cannot be told apart; what else is wrong with the sealed key is damage.
absl::Status KeyError(const absl::Status& status, const std::string& path) {
  if (Reason(status) == "DEVICE_FILE_PASSWORD") {
    return Unauthenticated("BACKUP_PASSWORD", "the password is not the one of ", path,
                           ", or its beginning is damaged; try again");
  }
  return absl::IsInvalidArgument(status) ? Damaged(path) : status;
}

}  // namespace

ArchiveWriter::ArchiveWriter(const Secret& key, int fd, const std::string& path)
    : sealed_(key, fd, path), zstd_(ZSTD_createCCtx(), &ZSTD_freeCCtx), buffer_(ZSTD_CStreamOutSize()) {
  ZSTD_CCtx_setParameter(zstd_.get(), ZSTD_c_compressionLevel, kCompressionLevel);
}

absl::Status ArchiveWriter::Add(absl::string_view bytes) {
  digest_.Update(bytes);
  return Compress(bytes, /*end=*/false);
}

absl::Status ArchiveWriter::Begin(const ArchiveEntry& entry) {
  RETURN_IF_ERROR(CheckWhole());
  if (entry.name.empty() || entry.name.size() > kMaxNameBytes) return absl::InternalError("an entry without a name");
  left_ = entry.bytes;
  return Add(absl::StrCat(Name(entry.name), BigEndian(entry.bytes, 8)));
}

absl::Status ArchiveWriter::Write(absl::string_view bytes) {
  if (bytes.size() > left_) return absl::InternalError("an entry is longer than it said");
  left_ -= bytes.size();
  return Add(bytes);
}

absl::StatusOr<std::string> ArchiveWriter::Finish() {
  RETURN_IF_ERROR(CheckWhole());
  RETURN_IF_ERROR(Add(Name("")));
  RETURN_IF_ERROR(Compress("", /*end=*/true));
  RETURN_IF_ERROR(sealed_.Finish());
  return digest_.Finish();
}

absl::Status ArchiveWriter::CheckWhole() const {
  return left_ == 0 ? absl::OkStatus() : absl::InternalError("an entry is shorter than it said");
}

absl::Status ArchiveWriter::Compress(absl::string_view bytes, bool end) {
  ZSTD_inBuffer in = {bytes.data(), bytes.size(), 0};
  size_t more = 1;
  while (in.pos < in.size || (end && more != 0)) {
    ZSTD_outBuffer out = {buffer_.mutable_bytes(), buffer_.size(), 0};
    more = ZSTD_compressStream2(zstd_.get(), &out, &in, end ? ZSTD_e_end : ZSTD_e_continue);
    if (ZSTD_isError(more) != 0) return absl::InternalError(ZSTD_getErrorName(more));
    RETURN_IF_ERROR(sealed_.Write(buffer_.Expose().substr(0, out.pos)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<ArchiveWriter>> ArchiveWriter::Create(int fd, const std::string& path,
                                                                     const Secret& password, const Label& label) {
  const device::KeyParameters parameters = device::NewKeyParameters();
  ASSIGN_OR_RETURN(const Secret password_key, device::DeriveFileKey(password, parameters));
  const Secret key = crypto::RandomSecret(kKeyBytes);
  RETURN_IF_ERROR(WriteAll(fd, path, absl::StrCat(kMagic, device::SealFile(password_key, parameters, key))));
  std::unique_ptr<ArchiveWriter> archive(new ArchiveWriter(key, fd, path));
  RETURN_IF_ERROR(archive->Add(
      absl::StrCat(BigEndian(absl::ToUnixSeconds(label.time), 8), Name(absl::StrJoin(label.services, ",")))));
  return archive;
}

ArchiveReader::ArchiveReader(const Secret& key, int fd, const std::string& path)
    : path_(path), sealed_(key, fd, path), zstd_(ZSTD_createDCtx(), &ZSTD_freeDCtx), buffer_(ZSTD_DStreamOutSize()) {}

absl::Status ArchiveReader::ReadLabel() {
  ASSIGN_OR_RETURN(const uint64_t seconds, TakeNumber(8));
  ASSIGN_OR_RETURN(const std::string services, TakeName());
  label_.time = absl::FromUnixSeconds(static_cast<int64_t>(seconds));
  label_.services = absl::StrSplit(services, ',');
  return absl::OkStatus();
}

absl::StatusOr<bool> ArchiveReader::Next(ArchiveEntry* entry) {
  while (left_ > 0) RETURN_IF_ERROR(Read().status());
  ASSIGN_OR_RETURN(entry->name, TakeName());
  if (entry->name.empty()) {
    RETURN_IF_ERROR(CheckEnd());
    digest_ = hash_.Finish();
    return false;
  }
  ASSIGN_OR_RETURN(entry->bytes, TakeNumber(8));
  left_ = entry->bytes;
  return true;
}

absl::StatusOr<absl::string_view> ArchiveReader::Read() {
  ASSIGN_OR_RETURN(const absl::string_view bytes, Take(left_));
  left_ -= bytes.size();
  return bytes;
}

absl::StatusOr<absl::string_view> ArchiveReader::Take(uint64_t most) {
  while (most > 0 && at_ == filled_) RETURN_IF_ERROR(Expand());
  const size_t count = std::min<uint64_t>(most, filled_ - at_);
  const absl::string_view bytes = buffer_.Expose().substr(at_, count);
  at_ += count;
  hash_.Update(bytes);
  return bytes;
}

absl::StatusOr<std::string> ArchiveReader::TakeAll(size_t size) {
  std::string all;
  while (all.size() < size) {
    ASSIGN_OR_RETURN(const absl::string_view bytes, Take(size - all.size()));
    absl::StrAppend(&all, bytes);
  }
  return all;
}

absl::StatusOr<uint64_t> ArchiveReader::TakeNumber(size_t size) {
  ASSIGN_OR_RETURN(const std::string bytes, TakeAll(size));
  return FromBigEndian(bytes);
}

absl::StatusOr<std::string> ArchiveReader::TakeName() {
  ASSIGN_OR_RETURN(const uint64_t size, TakeNumber(1));
  return TakeAll(size);
}

absl::Status ArchiveReader::Expand() {
  if (piece_at_ == piece_.size()) {
    ASSIGN_OR_RETURN(piece_, sealed_.Read());
    piece_at_ = 0;
    if (piece_.empty()) return Damaged(path_);
  }
  ZSTD_inBuffer in = {piece_.Expose().data(), piece_.size(), piece_at_};
  ZSTD_outBuffer out = {buffer_.mutable_bytes(), buffer_.size(), 0};
  frame_left_ = ZSTD_decompressStream(zstd_.get(), &out, &in);
  if (ZSTD_isError(frame_left_) != 0) return Damaged(path_);
  piece_at_ = in.pos;
  at_ = 0;
  filled_ = out.pos;
  return absl::OkStatus();
}

absl::Status ArchiveReader::CheckEnd() {
  while (at_ == filled_ && frame_left_ != 0) RETURN_IF_ERROR(Expand());
  if (at_ != filled_ || piece_at_ != piece_.size()) return Damaged(path_);
  ASSIGN_OR_RETURN(const Secret more, sealed_.Read());
  return more.empty() ? absl::OkStatus() : Damaged(path_);
}

absl::StatusOr<std::unique_ptr<ArchiveReader>> ArchiveReader::Open(int fd, const std::string& path,
                                                                   const Secret& password) {
  std::string header(kMagic.size() + kSealedKeyBytes, '\0');
  ASSIGN_OR_RETURN(const size_t got, ReadUpTo(fd, path, header.data(), header.size()));
  const absl::string_view magic = absl::string_view(header).substr(0, std::min(got, kMagic.size()));
  if (magic != kMagic && magic.size() == kMagic.size() && magic.substr(0, 3) == kMagic.substr(0, 3) &&
      absl::ascii_isdigit(static_cast<unsigned char>(magic[3]))) {
    return InvalidArgument("BACKUP_VERSION", path, " is of a newer version of Parley; upgrade parley on this machine");
  }
  if (magic != kMagic) {
    return InvalidArgument("BACKUP_NOT_ONE", path, " is no backup; one is made by `parley backup`");
  }
  if (got != header.size()) return Damaged(path);
  const absl::string_view sealed_key = absl::string_view(header).substr(kMagic.size());
  const absl::StatusOr<device::KeyParameters> parameters = device::ReadKeyParameters(sealed_key);
  if (!parameters.ok()) return KeyError(parameters.status(), path);
  ASSIGN_OR_RETURN(const Secret password_key, device::DeriveFileKey(password, *parameters));
  const absl::StatusOr<Secret> key = device::OpenFile(password_key, sealed_key);
  if (!key.ok()) return KeyError(key.status(), path);
  std::unique_ptr<ArchiveReader> archive(new ArchiveReader(*key, fd, path));
  RETURN_IF_ERROR(archive->ReadLabel());
  return archive;
}

}  // namespace parley::backup
