// The join key as a person pastes it: "prl1." + groups of base 32 + a checksum. A wrong letter is caught before
// anything is sent, and the client itself names an expired key (docs/protocol/keys.md).
#ifndef PARLEY_LIB_KEYS_JOIN_KEY_H_
#define PARLEY_LIB_KEYS_JOIN_KEY_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/secret.h"

namespace parley::keys {

struct JoinKey {
  // The address of taskd, "host:port" of at most 255 bytes.
  std::string address;
  // The task's id.
  std::string task;
  std::string identity;
  Secret secret;
  // The Ed25519 key by which the task's manifests are verified: 32 bytes.
  std::string verification_key;
  absl::Time not_after;
};

// Returns INVALID_ARGUMENT (JOIN_KEY_FIELDS) for a field that does not fit.
absl::StatusOr<Secret> FormatJoinKey(const JoinKey& key);

// Parses a join key. White space is ignored anywhere, letters may have either case. Returns INVALID_ARGUMENT:
// JOIN_KEY_NOT_ONE, JOIN_KEY_TYPO (which names the wrong group where it can), JOIN_KEY_INCOMPLETE, JOIN_KEY_VERSION;
// FAILED_PRECONDITION (JOIN_KEY_EXPIRED) with the time.
absl::StatusOr<JoinKey> ParseJoinKey(const Secret& pasted, absl::Time now);

}  // namespace parley::keys

#endif  // PARLEY_LIB_KEYS_JOIN_KEY_H_
