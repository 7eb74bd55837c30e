// The file set that a manifest names: its canonical form and digest, its validation, and reading one from a folder.
// docs/protocol/manifest.md specifies all of it.
#ifndef PARLEY_LIB_PAYLOAD_FILESET_H_
#define PARLEY_LIB_PAYLOAD_FILESET_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "parley/task/v1/manifest.pb.h"

namespace parley::payload {

inline constexpr int64_t kChunkBytes = 256 * 1024;
inline constexpr int64_t kMaxPayloadBytes = int64_t{1} << 30;  // 1 GiB
inline constexpr int kMaxFiles = 10'000;
inline constexpr size_t kMaxPathBytes = 1024;
inline constexpr size_t kMaxManifestBytes = 3 * 1024 * 1024;
inline constexpr size_t kMaxFrameBytes = 270'000;

using Files = google::protobuf::RepeatedPtrField<task::v1::FileEntry>;

// Checks the file set. Returns INVALID_ARGUMENT with a reason that names the entry: PATH_ABSOLUTE, PATH_ESCAPES,
// PATH_MALFORMED, PATH_TWICE, LINK_ESCAPES, FILE_TYPE, FILE_MODE, FILE_SIZE, CHUNK_COUNT, TOO_MANY_FILES,
// PAYLOAD_TOO_LARGE and others.
absl::Status ValidateFiles(const Files& files);

// Returns the SHA-256 of the canonical form. `files` must be valid.
std::string DigestFiles(const Files& files);
int64_t TotalBytes(const Files& files);

// Reads a file or a folder: the entries are sorted, each regular file is hashed and cut into chunks. Links stay links;
// devices, sockets and pipes are refused. If `on_chunk` is given, it gets every chunk's digest and content in order;
// its error ends the scan. Errors name the path: PAYLOAD_MISSING, PAYLOAD_EMPTY, FILE_PERMISSION, PAYLOAD_TOO_LARGE,
// and those of ValidateFiles.
using OnChunk = std::function<absl::Status(absl::string_view digest, absl::string_view content)>;
absl::StatusOr<Files> ScanPayload(const std::string& path, const OnChunk& on_chunk = nullptr);

// Returns the entries of `files` as they are on the disk below `root`, without absent ones, for the digest of what is
// really there. Returns the errors of ScanPayload for what cannot be read.
absl::StatusOr<Files> ScanInstalled(const std::string& root, const Files& files);

}  // namespace parley::payload

#endif  // PARLEY_LIB_PAYLOAD_FILESET_H_
