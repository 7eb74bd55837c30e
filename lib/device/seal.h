// The bytes of a device file: a header that says how its key follows from the password, and what that key seals.
//
// docs/protocol/device_file.md has the layout. Parameters weaker than this version's own are refused before any work
// is done: who can write to the disk must not be able to make the password cheap to guess. So are ones that would cost
// so much that the file is only a way to stop the reader.
//
// Threads: free functions without state.
#ifndef PARLEY_LIB_DEVICE_SEAL_H_
#define PARLEY_LIB_DEVICE_SEAL_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/base/secret.h"

namespace parley::device {

inline constexpr size_t kSaltBytes = 16;
inline constexpr size_t kFileKeyBytes = 32;
inline constexpr size_t kFileHeaderBytes = 4 + 4 + 4 + 4 + kSaltBytes + 12;
inline constexpr size_t kMaxFileBytes = 4 * 1024 * 1024;

struct KeyParameters {
  uint32_t memory_kib = 0;
  uint32_t passes = 0;
  uint32_t lanes = 0;
  std::string salt;
};

// This version's parameters with a new salt.
KeyParameters NewKeyParameters();

// From the beginning of a file. INVALID_ARGUMENT: DEVICE_FILE_NOT_ONE, DEVICE_FILE_VERSION, DEVICE_FILE_DAMAGED (too
// short), DEVICE_FILE_PARAMETERS.
absl::StatusOr<KeyParameters> ReadKeyParameters(absl::string_view file);

// Argon2id: takes 128 MiB and some tenths of a second. RESOURCE_EXHAUSTED (DEVICE_FILE_MEMORY).
absl::StatusOr<Secret> DeriveFileKey(const Secret& password, const KeyParameters& parameters);

// The whole file, with a nonce of its own. `key` is DeriveFileKey's for these parameters.
std::string SealFile(const Secret& key, const KeyParameters& parameters, const Secret& plaintext);
// The errors of ReadKeyParameters, and UNAUTHENTICATED (DEVICE_FILE_PASSWORD): another password, or a damaged file;
// which of the two cannot be told.
absl::StatusOr<Secret> OpenFile(const Secret& key, absl::string_view file);

}  // namespace parley::device

#endif  // PARLEY_LIB_DEVICE_SEAL_H_
