// The device file: all that makes this device a member of its organisation, sealed by a password.
//
// Guarantees: at rest nothing of it can be read or changed unseen without the password; a reader, and a restart after
// a crash, finds the old contents or the new; two commands that change it at once do not lose one another's change.
// The file alone does not protect against being put back to an older copy of itself: what must never go back, counts
// of suspected attacks, is only kept from honest mistakes by it, as docs/protocol/device_file.md says.
//
// Threads: as any value; processes are kept apart by a lock on the file's folder while one writes.
//
//   ASSIGN_OR_RETURN(DeviceFile device, DeviceFile::Open(path, password));
//   RETURN_IF_ERROR(device.Update([&](Contents* contents) { contents->head = head; return absl::OkStatus(); }));
#ifndef PARLEY_LIB_DEVICE_DEVICE_FILE_H_
#define PARLEY_LIB_DEVICE_DEVICE_FILE_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/secret.h"
#include "lib/device/contents.h"
#include "lib/device/seal.h"

namespace parley::device {

inline constexpr size_t kMinPasswordBytes = 8;
inline constexpr size_t kMaxPasswordBytes = 1024;

// Checks that the password may seal a device file. Returns INVALID_ARGUMENT (DEVICE_PASSWORD_LENGTH).
absl::Status CheckPassword(const Secret& password);

class DeviceFile {
 public:
  // Makes the file. Returns ALREADY_EXISTS (DEVICE_FILE_EXISTS), or the errors of CheckPassword and of lib/base/file.h.
  static absl::StatusOr<DeviceFile> Create(const std::string& path, const Secret& password, const Contents& contents);
  // Reads the file. Returns NOT_FOUND (NO_DEVICE_FILE), UNAUTHENTICATED (DEVICE_FILE_PASSWORD), or the other errors of
  // seal.h with the path.
  static absl::StatusOr<DeviceFile> Open(const std::string& path, const Secret& password);

  DeviceFile(DeviceFile&&) = default;
  DeviceFile& operator=(DeviceFile&&) = default;

  const std::string& path() const { return path_; }
  const Contents& contents() const { return contents_; }

  // Reads the file again, lets `change` change what it holds, and writes it. `change` must be quick, because others
  // wait. An error leaves the file unchanged. Returns FAILED_PRECONDITION (DEVICE_FILE_CHANGED) if the file is another
  // one now, or has another password.
  absl::Status Update(const std::function<absl::Status(Contents*)>& change);
  // Seals the contents by another password. Returns the errors of CheckPassword and of Update.
  absl::Status ChangePassword(const Secret& password);
  // Removes the file, for a claim that was given up before it was enrolled. Returns the errors of lib/base/file.h.
  absl::Status Remove();

  // Keeps what unlocks the file in the kernel's keyring of this login session, from which it goes by itself. The next
  // change of the password makes it worthless. Returns FAILED_PRECONDITION (NO_KEYRING) if the kernel or a container
  // has none.
  absl::Status Remember(absl::Duration lifetime) const;
  // Opens the file by what Remember kept. Returns NOT_FOUND (NOT_REMEMBERED), also if there is no keyring, or the
  // errors of Open.
  static absl::StatusOr<DeviceFile> OpenRemembered(const std::string& path);
  // Returns true if something was remembered, or the errors of Open that concern the path.
  static absl::StatusOr<bool> Forget(const std::string& path);

 private:
  DeviceFile(std::string path, KeyParameters parameters, Secret key, Contents contents);
  static absl::StatusOr<DeviceFile> OpenWithKey(const std::string& path, Secret key);
  absl::StatusOr<Contents> Read() const;
  absl::Status Write(const KeyParameters& parameters, const Secret& key, const Contents& contents) const;

  std::string path_;
  KeyParameters parameters_;
  Secret key_;
  Contents contents_;
};

}  // namespace parley::device

#endif  // PARLEY_LIB_DEVICE_DEVICE_FILE_H_
