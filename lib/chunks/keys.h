// Where chunks stand in the store.
//
//   c/{digest}      a zstd frame, unless that is in the folder
//   d/{digest}      ChunkInfo
//   w/used          ChunksUsed                     w/folder        ChunkFolderRecord
//   w/doomed        nothing: each commit that dooms chunks puts it
//   w/put/{file}    nothing: files of this name are being written to the folder; under a lease
//
// Threads: pure functions.
#ifndef PARLEY_LIB_CHUNKS_KEYS_H_
#define PARLEY_LIB_CHUNKS_KEYS_H_

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "lib/base/encoding.h"
#include "lib/store/store.h"

namespace parley::chunks {

inline std::string FrameKey(absl::string_view digest) { return absl::StrCat("c/", HexEncode(digest)); }
inline std::string InfoKey(absl::string_view digest) { return absl::StrCat("d/", HexEncode(digest)); }
inline store::KeyRange InfoRange() { return store::KeyRange::Prefix("d/"); }
inline constexpr absl::string_view kUsedKey = "w/used";
inline constexpr absl::string_view kFolderKey = "w/folder";
inline constexpr absl::string_view kDoomedKey = "w/doomed";
inline std::string WritingKey(absl::string_view file) { return absl::StrCat("w/put/", file); }
inline store::KeyRange WritingRange() { return store::KeyRange::Prefix("w/put/"); }

}  // namespace parley::chunks

#endif  // PARLEY_LIB_CHUNKS_KEYS_H_
