// The join key as a person pastes it: "prl1." + groups of base 32 + a checksum, so that a wrong letter is caught
// before anything is sent, and an expired key is named by the client itself. docs/protocol/keys.md.
#ifndef PARLEY_LIB_KEYS_JOIN_KEY_H_
#define PARLEY_LIB_KEYS_JOIN_KEY_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/secret.h"

namespace parley::keys {

struct JoinKey {
  // host:port of taskd, at most 255 bytes.
  std::string address;
  // Id of the task.
  std::string task;
  std::string identity;
  Secret secret;
  // Ed25519 key that signs the task's manifests. 32 bytes.
  std::string verification_key;
  absl::Time not_after;
};

absl::StatusOr<Secret> FormatJoinKey(const JoinKey& key);

// White space anywhere is ignored, letters may have either case. INVALID_ARGUMENT with reason JOIN_KEY_NOT_ONE,
// JOIN_KEY_TYPO (names the group that is wrong where it can), JOIN_KEY_INCOMPLETE, JOIN_KEY_VERSION;
// FAILED_PRECONDITION with JOIN_KEY_EXPIRED and the time.
absl::StatusOr<JoinKey> ParseJoinKey(const Secret& pasted, absl::Time now);

}  // namespace parley::keys

#endif  // PARLEY_LIB_KEYS_JOIN_KEY_H_
