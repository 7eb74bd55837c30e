#include "clients/cli/unlock.h"

#include <unistd.h>

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "clients/cli/paths.h"
#include "clients/cli/terminal.h"
#include "clients/operator/new_file.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

namespace parley::cli {
namespace {

using device::DeviceFile;

constexpr absl::Duration kRemembered = absl::Hours(8);
constexpr int kTries = 3;
constexpr char kNoTerminal[] =
    "the device file wants its password, and there is no terminal to ask at; name a file of mode 0600 that holds it "
    "with "
    "--password-file or PARLEY_DEVICE_PASSWORD_FILE";

std::string PasswordFile(const Globals& globals) {
  return globals.password_file.empty() ? Environment("PARLEY_DEVICE_PASSWORD_FILE") : globals.password_file;
}

absl::StatusOr<DeviceFile> Unlock(const Globals& globals, const std::string& path) {
  if (absl::StatusOr<DeviceFile> remembered = DeviceFile::OpenRemembered(path);
      remembered.ok() || Reason(remembered.status()) != "NOT_REMEMBERED") {
    return remembered;
  }
  if (const std::string file = PasswordFile(globals); !file.empty()) {
    ASSIGN_OR_RETURN(const Secret password, ReadPasswordFile(file));
    return DeviceFile::Open(path, password);
  }
  for (int left = kTries;; --left) {
    ASSIGN_OR_RETURN(const Secret password,
                     AskHidden(absl::StrCat("  Password of ", path, " (it is not shown): "), kNoTerminal));
    absl::StatusOr<DeviceFile> opened = DeviceFile::Open(path, password);
    if (opened.ok() || left == 1 || Reason(opened.status()) != "DEVICE_FILE_PASSWORD") return opened;
    PrintErrorLine("  That is not its password; try again.");
  }
}

absl::StatusOr<DeviceFile*> StoreFile(const Globals& globals, DeviceFile file) {
  if (globals.remember) RETURN_IF_ERROR(file.Remember(kRemembered));
  globals.device = std::make_shared<DeviceFile>(std::move(file));
  return globals.device.get();
}

}  // namespace

std::string DevicePath(const Globals& globals) {
  if (!globals.device_path.empty()) return globals.device_path;
  std::string path = Environment("PARLEY_DEVICE");
  return path.empty() ? ConfigFolder() + "/device" : path;
}

bool UsesDevice(const Globals& globals) {
  if (!globals.device_path.empty()) return true;
  if (!globals.credential_path.empty()) return false;
  if (!Environment("PARLEY_DEVICE").empty()) return true;
  return Environment("PARLEY_CREDENTIAL").empty() && ::access(DevicePath(globals).c_str(), F_OK) == 0;
}

absl::StatusOr<DeviceFile*> UnlockDevice(const Globals& globals) {
  if (globals.device != nullptr) return globals.device.get();
  ASSIGN_OR_RETURN(DeviceFile file, Unlock(globals, DevicePath(globals)));
  return StoreFile(globals, std::move(file));
}

absl::StatusOr<DeviceFile*> OpenDevice(const Globals& globals) {
  ASSIGN_OR_RETURN(DeviceFile* const file, UnlockDevice(globals));
  if (file->contents().enrolled()) return file;
  return Error(absl::StatusCode::kFailedPrecondition, "DEVICE_NOT_ENROLLED",
               absl::StrCat(file->path(),
                            " is of an enrolment that was interrupted; go on with it, or remove it, with: "
                            "parley claim"));
}

absl::StatusOr<DeviceFile*> CreateDevice(const Globals& globals, const device::Contents& contents) {
  const std::string path = DevicePath(globals);
  RETURN_IF_ERROR(MakeFolders(FolderOf(path), 0700));
  RETURN_IF_ERROR(ops::CanCreate(path, "the device file"));
  ASSIGN_OR_RETURN(const Secret password, NewDevicePassword(PasswordFile(globals)));
  ASSIGN_OR_RETURN(DeviceFile file, DeviceFile::Create(path, password, contents));
  return StoreFile(globals, std::move(file));
}

absl::Status CheckUnlockOptions(const Globals& globals) {
  if (globals.device != nullptr || (globals.password_file.empty() && !globals.remember)) return absl::OkStatus();
  return UsageError(globals.remember ? "--remember" : "--password-file",
                    " is for a device file, and none is used here; name it with --device, or leave it "
                    "out");
}

absl::StatusOr<Secret> ReadPasswordFile(const std::string& file) {
  ASSIGN_OR_RETURN(const Secret text, ReadSecretFile(file, device::kMaxPasswordBytes + 2));
  absl::string_view line = text.Expose();
  line = line.substr(0, line.find('\n'));
  absl::ConsumeSuffix(&line, "\r");
  return Secret::CopyOf(line);
}

absl::StatusOr<Secret> NewDevicePassword(const std::string& file) {
  if (file.empty()) {
    return AskTwice("  A password for the new device file (it is not shown): ", kNoTerminal, &device::CheckPassword);
  }
  ASSIGN_OR_RETURN(Secret password, ReadPasswordFile(file));
  RETURN_IF_ERROR(device::CheckPassword(password));
  return password;
}

}  // namespace parley::cli
