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

// Returns where a mode has the bits of this tag, or -1 if it has none.
int ShiftOf(int tag) { return tag == kOwner ? 6 : tag == kGroup ? 3 : tag == kOthers ? 0 : -1; }

}  // namespace

mode_t PermissionsIn(absl::string_view acl, mode_t mode) {
  if (!IsList(acl)) return mode & 07777;
  mode_t permissions = mode & 07777;
  for (size_t at = kHeaderBytes; at < acl.size(); at += kEntryBytes) {
    const int shift = ShiftOf(TagAt(acl, at));
    const mode_t allowed = static_cast<uint8_t>(acl[at + 2]) & 7;
    if (shift >= 0) permissions = (permissions & ~(7u << shift)) | allowed << shift;
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
    masked = masked || TagAt(changed, at) == kMask;
    const int shift = ShiftOf(TagAt(changed, at));
    if (shift < 0) continue;
    changed[at + 2] = static_cast<char>(mode >> shift & 7);
    changed[at + 3] = 0;
  }
  return masked ? changed : "";
}

}  // namespace parley::payload
