#include "lib/device/keyring.h"

#include <errno.h>
#include <linux/keyctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "lib/base/error.h"

namespace parley::device {
namespace {

constexpr char kType[] = "user";
constexpr size_t kMaxSecretBytes = 256;
// Holder and user may read, write and search; nobody else may do anything.
constexpr unsigned kPermissions = 0x3f3f0000;

long Search(const std::string& name) {
  return syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, kType, name.c_str(), 0);
}

}  // namespace

absl::Status KeepInKeyring(const std::string& name, const Secret& secret, absl::Duration lifetime) {
  const absl::string_view bytes = secret.Expose();
  const long key = syscall(SYS_add_key, kType, name.c_str(), bytes.data(), bytes.size(), KEY_SPEC_SESSION_KEYRING);
  if (key < 0) {
    return FailedPrecondition("NO_KEYRING", "this system keeps no keys for a session (", ErrnoText(errno),
                              "); do without --remember, or give the password by --password-file");
  }
  const auto seconds = static_cast<unsigned>(std::max<int64_t>(1, absl::ToInt64Seconds(lifetime)));
  if (syscall(SYS_keyctl, KEYCTL_SET_TIMEOUT, key, seconds) != 0 ||
      syscall(SYS_keyctl, KEYCTL_SETPERM, key, kPermissions) != 0) {
    const std::string why = ErrnoText(errno);
    DropFromKeyring(name);
    return FailedPrecondition("NO_KEYRING", "the session's keyring does not let its keys expire (", why,
                              "); do without --remember");
  }
  return absl::OkStatus();
}

absl::StatusOr<Secret> FindInKeyring(const std::string& name) {
  Secret secret(kMaxSecretBytes);
  const long key = Search(name);
  const long size =
      key < 0 ? -1 : syscall(SYS_keyctl, KEYCTL_READ, key, secret.mutable_bytes(), static_cast<size_t>(secret.size()));
  if (size < 0 || static_cast<size_t>(size) > secret.size()) {
    return NotFound("NOT_REMEMBERED", "this session remembers no password of this file");
  }
  return Secret::CopyOf(secret.Expose().substr(0, static_cast<size_t>(size)));
}

bool DropFromKeyring(const std::string& name) {
  const long key = Search(name);
  return key >= 0 && syscall(SYS_keyctl, KEYCTL_UNLINK, key, KEY_SPEC_SESSION_KEYRING) == 0;
}

}  // namespace parley::device
