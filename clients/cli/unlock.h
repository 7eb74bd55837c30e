// The device file of the command line, and the passwords that open it.
#ifndef PARLEY_CLIENTS_CLI_UNLOCK_H_
#define PARLEY_CLIENTS_CLI_UNLOCK_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "clients/cli/command.h"
#include "lib/base/secret.h"
#include "lib/device/device_file.h"

namespace parley::cli {

// --device, $PARLEY_DEVICE, else device in ConfigFolder().
std::string DevicePath(const Globals& globals);
// Whether commands act by the device file: it is named, or it is there and no credential is named.
bool UsesDevice(const Globals& globals);

// The device file, unlocked: by what the session remembers, --password-file, $PARLEY_DEVICE_PASSWORD_FILE or a hidden
// prompt. Once in a process; it lives as long as `globals`. With --remember the session remembers it from then on.
// NO_DEVICE_FILE, DEVICE_FILE_PASSWORD and the others of device_file.h.
absl::StatusOr<device::DeviceFile*> UnlockDevice(const Globals& globals);
// The same, of a device that is a member. FAILED_PRECONDITION (DEVICE_NOT_ENROLLED): a claim was interrupted.
absl::StatusOr<device::DeviceFile*> OpenDevice(const Globals& globals);

// Makes the file, under a password as NewDevicePassword has it; then as UnlockDevice. Folders above it are made.
absl::StatusOr<device::DeviceFile*> CreateDevice(const Globals& globals, const device::Contents& contents);

// A usage error when --password-file or --remember is given and no device file is used.
absl::Status CheckUnlockOptions(const Globals& globals);

// The first line of a file of mode 0600.
absl::StatusOr<Secret> ReadPasswordFile(const std::string& file);

// From --password-file or $PARLEY_DEVICE_PASSWORD_FILE, else typed twice.
absl::StatusOr<Secret> NewDevicePassword(const Globals& globals);
// Typed twice, or the first line of the file.
absl::StatusOr<Secret> NewDevicePassword(const Globals& globals, const std::string& file);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_UNLOCK_H_
