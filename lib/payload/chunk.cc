#include "lib/payload/chunk.h"

#include <zstd.h>

#include "lib/base/error.h"
#include "lib/crypto/hash.h"
#include "lib/payload/fileset.h"

namespace parley::payload {
namespace {

// A frame for which ZSTD_getFrameContentSize also answers holds no content: four more magic numbers mark those.
constexpr absl::string_view kMagic("\x28\xb5\x2f\xfd", 4);

absl::Status Malformed(absl::string_view why) {
  return InvalidArgument("CHUNK_MALFORMED", "a chunk is not one zstd frame: ", why);
}

}  // namespace

std::string CompressChunk(absl::string_view content) {
  std::string frame(ZSTD_compressBound(content.size()), '\0');
  // The buffer has the size that zstd itself asks for, so this cannot fail.
  frame.resize(ZSTD_compress(frame.data(), frame.size(), content.data(), content.size(), 3));
  return frame;
}

absl::StatusOr<std::string> ExpandChunk(absl::string_view frame, absl::string_view digest) {
  if (frame.size() > kMaxFrameBytes) {
    return InvalidArgument("CHUNK_TOO_LARGE", "a chunk's frame has ", frame.size(), " bytes, over the limit of ",
                           kMaxFrameBytes);
  }
  if (frame.substr(0, kMagic.size()) != kMagic) return Malformed("its first bytes are not zstd's");
  const unsigned long long size = ZSTD_getFrameContentSize(frame.data(), frame.size());
  if (size == ZSTD_CONTENTSIZE_UNKNOWN) return Malformed("it does not say its content's size");
  if (size == ZSTD_CONTENTSIZE_ERROR) return Malformed("its header is damaged");
  if (size > static_cast<unsigned long long>(kChunkBytes)) {
    return InvalidArgument("CHUNK_TOO_LARGE", "a chunk promises ", size, " bytes, over the limit of ", kChunkBytes);
  }
  const size_t frame_size = ZSTD_findFrameCompressedSize(frame.data(), frame.size());
  if (ZSTD_isError(frame_size)) return Malformed("it is cut off or damaged");
  if (frame_size != frame.size()) return Malformed("bytes follow the frame");
  std::string content(static_cast<size_t>(size), '\0');
  const size_t written = ZSTD_decompress(content.data(), content.size(), frame.data(), frame.size());
  if (ZSTD_isError(written)) return Malformed(ZSTD_getErrorName(written));
  if (written != content.size()) return Malformed("its content is shorter than promised");
  if (crypto::Sha256(content) != digest) {
    return InvalidArgument("CHUNK_DIGEST", "a chunk's content does not have its digest");
  }
  return content;
}

}  // namespace parley::payload
