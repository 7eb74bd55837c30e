#include "clients/agent/metadata.h"

#include <errno.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <functional>
#include <optional>

#include "absl/strings/match.h"
#include "clients/agent/target_error.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/payload/permissions.h"

namespace parley::agent {
namespace {

constexpr char kLabel[] = "security.selinux";

std::optional<std::string> Attribute(int fd, const std::string& name) {
  const ssize_t length = fgetxattr(fd, name.c_str(), nullptr, 0);
  if (length < 0) return std::nullopt;
  std::string value(static_cast<size_t>(length), '\0');
  if (fgetxattr(fd, name.c_str(), value.data(), value.size()) != length) return std::nullopt;
  return value;
}

// What protects a file or carries its meaning may not get lost without a word.
absl::Status SetAttribute(int fd, const std::string& name, const std::string& value, const std::string& shown) {
  if (fsetxattr(fd, name.c_str(), value.data(), value.size(), 0) == 0 || errno == EOPNOTSUPP) return absl::OkStatus();
  if (absl::StartsWith(name, "user.") || absl::StartsWith(name, "system.posix_acl")) {
    return CopyError("keep the attributes of", shown, errno);
  }
  return absl::OkStatus();
}

absl::Status CopyAttributes(int from, int to, const std::function<bool(const std::string&)>& wanted,
                            const std::string& shown) {
  const ssize_t size = flistxattr(from, nullptr, 0);
  if (size <= 0) return absl::OkStatus();
  std::string names(static_cast<size_t>(size), '\0');
  const ssize_t got = flistxattr(from, names.data(), names.size());
  if (got <= 0) return absl::OkStatus();
  names.resize(static_cast<size_t>(got));
  for (size_t start = 0; start < names.size();) {
    const std::string name = names.c_str() + start;
    start += name.size() + 1;
    if (!wanted(name)) continue;
    const std::optional<std::string> value = Attribute(from, name);
    if (value.has_value()) RETURN_IF_ERROR(SetAttribute(to, name, *value, shown));
  }
  return absl::OkStatus();
}

absl::Status SetOwner(int fd, uid_t user, gid_t group, const std::string& shown) {
  struct stat made;
  if (fstat(fd, &made) != 0) return CopyError("keep the owner of", shown, errno);
  if (user == made.st_uid && group == made.st_gid) return absl::OkStatus();
  if (fchown(fd, user, group) == 0) return absl::OkStatus();
  return CopyError(user == made.st_uid ? "keep the group of" : "keep the owner of", shown, errno);
}

// Where a folder's group or label is inherited, a new entry that comes from elsewhere needs it too.
absl::Status Inherit(int fd, int folder, const std::string& shown) {
  struct stat above, made;
  if (fstat(folder, &above) != 0 || fstat(fd, &made) != 0) return FileError("read", shown, errno);
  if ((above.st_mode & S_ISGID) != 0) RETURN_IF_ERROR(SetOwner(fd, made.st_uid, above.st_gid, shown));
  const std::optional<std::string> label = Attribute(folder, kLabel);
  return label.has_value() ? SetAttribute(fd, kLabel, *label, shown) : absl::OkStatus();
}

// Flags that describe how a file is stored, and that its owner may set. Those that forbid changes are no copy's to
// have.
constexpr unsigned kKeptFlags = FS_COMPR_FL | FS_SYNC_FL | FS_NODUMP_FL | FS_NOATIME_FL | FS_DIRSYNC_FL | FS_NOCOW_FL;

}  // namespace

absl::Status CopyFlags(int from, int to, const std::string& shown) {
  unsigned old_flags = 0, new_flags = 0;
  if (ioctl(from, FS_IOC_GETFLAGS, &old_flags) == 0 && ioctl(to, FS_IOC_GETFLAGS, &new_flags) == 0 &&
      (old_flags & kKeptFlags) != (new_flags & kKeptFlags)) {
    const unsigned flags = (new_flags & ~kKeptFlags) | (old_flags & kKeptFlags);
    if (ioctl(to, FS_IOC_SETFLAGS, &flags) != 0) return CopyError("keep the flags (chattr) of", shown, errno);
  }
  fsxattr old_attributes = {}, new_attributes = {};
  if (ioctl(from, FS_IOC_FSGETXATTR, &old_attributes) != 0 || ioctl(to, FS_IOC_FSGETXATTR, &new_attributes) != 0) {
    return absl::OkStatus();
  }
  const unsigned inherits = old_attributes.fsx_xflags & FS_XFLAG_PROJINHERIT;
  if (old_attributes.fsx_projid == new_attributes.fsx_projid &&
      inherits == (new_attributes.fsx_xflags & FS_XFLAG_PROJINHERIT)) {
    return absl::OkStatus();
  }
  new_attributes.fsx_projid = old_attributes.fsx_projid;
  new_attributes.fsx_xflags = (new_attributes.fsx_xflags & ~FS_XFLAG_PROJINHERIT) | inherits;
  if (ioctl(to, FS_IOC_FSSETXATTR, &new_attributes) == 0) return absl::OkStatus();
  return CopyError("keep the project of", shown, errno);
}

absl::Status CopyMetadata(int from, int to, const struct stat& info, const std::string& shown) {
  // The owner first: changing it may take set-user-id bits and capabilities away.
  RETURN_IF_ERROR(SetOwner(to, info.st_uid, info.st_gid, shown));
  RETURN_IF_ERROR(CopyAttributes(
      from, to, [](const std::string&) { return true; }, shown));
  if (fchmod(to, info.st_mode & 07777) != 0) return CopyError("keep the mode of", shown, errno);
  const timespec times[2] = {info.st_atim, info.st_mtim};
  if (futimens(to, times) != 0) return CopyError("keep the times of", shown, errno);
  return absl::OkStatus();
}

absl::Status DressFile(int fd, int old, int folder, mode_t mode, const std::string& shown) {
  std::optional<std::string> acl;
  if (old >= 0) {
    struct stat info;
    if (fstat(old, &info) != 0) return FileError("keep the owner of", shown, errno);
    RETURN_IF_ERROR(SetOwner(fd, info.st_uid, info.st_gid, shown));
    const auto wanted = [](const std::string& name) {
      return absl::StartsWith(name, "user.") || name == kLabel || name == "security.capability";
    };
    RETURN_IF_ERROR(CopyAttributes(old, fd, wanted, shown));
    acl = Attribute(old, payload::kAccessAcl);
  } else {
    RETURN_IF_ERROR(Inherit(fd, folder, shown));
    acl = Attribute(folder, payload::kDefaultAcl);
  }
  // What the file may have got where it was written has no say.
  fremovexattr(fd, payload::kAccessAcl);
  if (fchmod(fd, mode) != 0) return FileError("write", shown, errno);
  const std::string list = acl.has_value() ? payload::AclWithMode(*acl, mode) : "";
  return list.empty() ? absl::OkStatus() : SetAttribute(fd, payload::kAccessAcl, list, shown);
}

absl::Status DressFolder(int fd, int folder, const std::string& shown) {
  RETURN_IF_ERROR(Inherit(fd, folder, shown));
  struct stat above;
  if (fstat(folder, &above) != 0) return FileError("read", shown, errno);
  if (fchmod(fd, 0755 | (above.st_mode & S_ISGID)) != 0) return FileError("write", shown, errno);
  const std::optional<std::string> list = Attribute(folder, payload::kDefaultAcl);
  if (!list.has_value()) return absl::OkStatus();
  RETURN_IF_ERROR(SetAttribute(fd, payload::kDefaultAcl, *list, shown));
  const std::string access = payload::AclWithMode(*list, 0755);
  return access.empty() ? absl::OkStatus() : SetAttribute(fd, payload::kAccessAcl, access, shown);
}

}  // namespace parley::agent
