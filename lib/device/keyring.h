// The kernel's session keyring (keyrings(7)): it holds secrets for as long as a login session, or less.
//
// Threads: free functions; they may be called from any thread.
#ifndef PARLEY_LIB_DEVICE_KEYRING_H_
#define PARLEY_LIB_DEVICE_KEYRING_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/secret.h"

namespace parley::device {

// Keeps a secret under a name for this long. Returns FAILED_PRECONDITION (NO_KEYRING) if there is no keyring.
absl::Status KeepInKeyring(const std::string& name, const Secret& secret, absl::Duration lifetime);
// Returns NOT_FOUND (NOT_REMEMBERED) if the secret is not there, or there is no keyring.
absl::StatusOr<Secret> FindInKeyring(const std::string& name);
// Returns whether the secret was there.
bool DropFromKeyring(const std::string& name);

}  // namespace parley::device

#endif  // PARLEY_LIB_DEVICE_KEYRING_H_
