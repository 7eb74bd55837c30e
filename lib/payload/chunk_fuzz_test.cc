// Frames from a server that is not to be trusted: whatever expands is one whole frame within the limits.
#include <stdlib.h>
#include <zstd.h>

#include <string>

#include "lib/base/error.h"
#include "lib/crypto/hash.h"
#include "lib/payload/chunk.h"
#include "lib/payload/fileset.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using parley::payload::ExpandChunk;
  const absl::string_view frame(reinterpret_cast<const char*>(data), size);
  const auto refused = ExpandChunk(frame, std::string(32, '\0'));
  if (refused.ok()) abort();
  if (parley::Reason(refused.status()) != "CHUNK_DIGEST") return 0;
  // It is a good frame of something: by zstd alone, of what?
  std::string content(static_cast<size_t>(parley::payload::kChunkBytes), '\0');
  const size_t written = ZSTD_decompress(content.data(), content.size(), frame.data(), frame.size());
  if (ZSTD_isError(written)) abort();
  content.resize(written);
  const auto expanded = ExpandChunk(frame, parley::crypto::Sha256(content));
  if (!expanded.ok() || *expanded != content) abort();
  return 0;
}
