// The device file of the command line, and the passwords that open it.
//
// Threads: free functions, for one thread at a time. Those that may ask for a password block.
#ifndef PARLEY_CLIENTS_CLI_UNLOCK_H_
#define PARLEY_CLIENTS_CLI_UNLOCK_H_

#include <string>

#include "absl/status/statusor.h"
#include "clients/cli/command.h"
#include "lib/base/secret.h"
#include "lib/device/device_file.h"

namespace parley::cli {

// Returns --device, $PARLEY_DEVICE, or else device in ConfigFolder().
std::string DevicePath(const Globals& globals);
// Returns whether commands act by the device file: it is named, or it is there and no credential is named.
bool UsesDevice(const Globals& globals);

// Unlocks the device file by what the session remembers, --password-file, $PARLEY_DEVICE_PASSWORD_FILE or a hidden
// prompt. A further call returns the same file, which lives as long as `globals`. With --remember the session remembers
// the key from then on. Returns the errors of DeviceFile::Open, ReadPasswordFile and AskHidden (terminal.h).
absl::StatusOr<device::DeviceFile*> UnlockDevice(const Globals& globals);
// Unlocks the file of a device that is enrolled. Returns FAILED_PRECONDITION (DEVICE_NOT_ENROLLED) if a claim was
// interrupted, or the errors of UnlockDevice.
absl::StatusOr<device::DeviceFile*> OpenDevice(const Globals& globals);

// Makes the file, and the folders above it, under a password from --password-file, $PARLEY_DEVICE_PASSWORD_FILE or a
// prompt. UnlockDevice then returns it. Returns the errors of ops::CanCreate, NewDevicePassword and DeviceFile::Create.
absl::StatusOr<device::DeviceFile*> CreateDevice(const Globals& globals, const device::Contents& contents);

// Returns a usage error if --password-file or --remember is given and no device file is used.
absl::Status CheckUnlockOptions(const Globals& globals);

// Returns the first line of a file of mode 0600, or the errors of ReadSecretFile (lib/base/file.h).
absl::StatusOr<Secret> ReadPasswordFile(const std::string& file);

// Returns a good password for a device file: the first line of `file`, or if that is empty, one that was typed twice.
// Returns the errors of ReadPasswordFile, device::CheckPassword and AskTwice (terminal.h).
absl::StatusOr<Secret> NewDevicePassword(const std::string& file);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_UNLOCK_H_
