#include "lib/payload/permissions.h"

#include <sys/xattr.h>

#include <cstdint>

namespace parley::payload {
namespace {

// linux/posix_acl_xattr.h: a header of four bytes, then entries of a tag, what it allows, and an id; little-endian.
constexpr size_t kHeaderBytes = 4;
constexpr size_t kEntryBytes = 8;
constexpr int kOwner = 0x01, kGroup = 0x04, kMask = 0x10, kOthers = 0x20;

bool IsList(absl::string_view acl) {
  return acl.size() > kHeaderBytes && (acl.size() - kHeaderBytes) % kEntryBytes == 0;
}

int TagAt(absl::string_view acl, size_t at) {
  return static_cast<uint8_t>(acl[at]) | static_cast<uint8_t>(acl[at + 1]) << 8;
}

}  // namespace

mode_t PermissionsIn(absl::string_view acl, mode_t mode) {
  if (!IsList(acl)) return mode & 07777;
  mode_t permissions = mode & 07777;
  for (size_t at = kHeaderBytes; at < acl.size(); at += kEntryBytes) {
    const mode_t allowed = static_cast<uint8_t>(acl[at + 2]) & 7;
    switch (TagAt(acl, at)) {
      case kOwner:
        permissions = (permissions & ~0700u) | allowed << 6;
        break;
      case kGroup:
        permissions = (permissions & ~0070u) | allowed << 3;
        break;
      case kOthers:
        permissions = (permissions & ~0007u) | allowed;
        break;
      default:
        break;
    }
  }
  return permissions;
}

mode_t PermissionsOf(int fd, mode_t mode) {
  char acl[4096];
  const ssize_t size = fgetxattr(fd, kAccessAcl, acl, sizeof(acl));
  return size > 0 ? PermissionsIn(absl::string_view(acl, static_cast<size_t>(size)), mode) : mode & 07777;
}

std::string AclWithMode(absl::string_view acl, mode_t mode) {
  if (!IsList(acl)) return "";
  std::string changed(acl);
  bool masked = false;
  for (size_t at = kHeaderBytes; at < changed.size(); at += kEntryBytes) {
    const int tag = TagAt(changed, at);
    masked = masked || tag == kMask;
    if (tag != kOwner && tag != kGroup && tag != kOthers) continue;
    changed[at + 2] = static_cast<char>((tag == kOwner ? mode >> 6 : tag == kGroup ? mode >> 3 : mode) & 7);
    changed[at + 3] = 0;
  }
  return masked ? changed : "";
}

}  // namespace parley::payload
