// The kernel's session keyring (keyrings(7)): secrets that live as long as a login session, or less.
//
// Threads: free functions; any thread.
#ifndef PARLEY_LIB_DEVICE_KEYRING_H_
#define PARLEY_LIB_DEVICE_KEYRING_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/secret.h"

namespace parley::device {

// Keeps a secret under a name for this long. FAILED_PRECONDITION (NO_KEYRING).
absl::Status KeepInKeyring(const std::string& name, const Secret& secret, absl::Duration lifetime);
// NOT_FOUND (NOT_REMEMBERED) when it is not there, or there is no keyring.
absl::StatusOr<Secret> FindInKeyring(const std::string& name);
// True when it was there.
bool DropFromKeyring(const std::string& name);

}  // namespace parley::device

#endif  // PARLEY_LIB_DEVICE_KEYRING_H_
