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

// Returns this version's parameters with a new salt.
KeyParameters NewKeyParameters();

// Reads the parameters from the beginning of a file. Returns INVALID_ARGUMENT: DEVICE_FILE_NOT_ONE,
// DEVICE_FILE_VERSION, DEVICE_FILE_DAMAGED if it is too short, DEVICE_FILE_PARAMETERS.
absl::StatusOr<KeyParameters> ReadKeyParameters(absl::string_view file);

// Runs Argon2id, which takes 128 MiB and some tenths of a second. Returns RESOURCE_EXHAUSTED (DEVICE_FILE_MEMORY)
// without that much memory.
absl::StatusOr<Secret> DeriveFileKey(const Secret& password, const KeyParameters& parameters);

// Returns the whole file, sealed with a nonce of its own. `key` is what DeriveFileKey returned for these parameters.
std::string SealFile(const Secret& key, const KeyParameters& parameters, const Secret& plaintext);
// Returns the plaintext; the errors of ReadKeyParameters; or UNAUTHENTICATED (DEVICE_FILE_PASSWORD) for another
// password or a damaged file, which cannot be told apart.
absl::StatusOr<Secret> OpenFile(const Secret& key, absl::string_view file);

}  // namespace parley::device

#endif  // PARLEY_LIB_DEVICE_SEAL_H_
