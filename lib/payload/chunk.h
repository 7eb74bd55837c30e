// Compresses and expands chunks: one zstd frame each, on the wire and in the store, addressed by the SHA-256 of its
// content.
#ifndef PARLEY_LIB_PAYLOAD_CHUNK_H_
#define PARLEY_LIB_PAYLOAD_CHUNK_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace parley::payload {

// Returns at most 256 KiB of content as one frame that has its content size.
std::string CompressChunk(absl::string_view content);

// Returns the content of a frame, if that is one whole frame of at most 256 KiB with this digest. Never writes more
// than the header promises, and refuses a promise over the limit. Returns INVALID_ARGUMENT: CHUNK_MALFORMED,
// CHUNK_TOO_LARGE, CHUNK_DIGEST.
absl::StatusOr<std::string> ExpandChunk(absl::string_view frame, absl::string_view digest);

}  // namespace parley::payload

#endif  // PARLEY_LIB_PAYLOAD_CHUNK_H_
