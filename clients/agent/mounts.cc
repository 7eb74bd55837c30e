#include "clients/agent/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clients/agent/file_state.h"

namespace parley::agent {
namespace {

constexpr uint64_t kStay = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;

Fd OpenAt2(int root, const std::string& path, int flags) {
  open_how how = {};
  how.flags = static_cast<uint64_t>(flags | O_NOFOLLOW | O_CLOEXEC);
  how.resolve = kStay;
  while (true) {
    const long fd = syscall(SYS_openat2, root, path.c_str(), &how, sizeof(how));
    if (fd >= 0) return Fd(static_cast<int>(fd));
    // The kernel could not be sure, because something was renamed at the same moment.
    if (errno != EAGAIN && errno != EINTR) return Fd();
  }
}

// Old kernels and strict system call filters do not have the call.
bool HasOpenAt2() {
  static const bool has = OpenAt2(AT_FDCWD, ".", O_PATH | O_DIRECTORY).ok();
  return has;
}

Fd OpenStepByStep(int root, absl::string_view path, int flags) {
  Fd folder(openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  while (folder.ok()) {
    const size_t slash = path.find('/');
    const std::string part(path.substr(0, slash));
    if (part != "." && IsMount(folder.get(), part)) {
      errno = EXDEV;
      return Fd();
    }
    const bool last = slash == absl::string_view::npos;
    const int how = last ? flags : O_RDONLY | O_DIRECTORY;
    folder = Fd(openat(folder.get(), part.c_str(), how | O_NOFOLLOW | O_CLOEXEC));
    if (last) break;
    path.remove_prefix(slash + 1);
  }
  return folder;
}

}  // namespace

bool IsMountRoot(int folder, const struct statx& info) {
  if ((info.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0) {
    return (info.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
  }
  // Before Linux 5.8 only another device can be seen, and that of folders only.
  struct statx above;
  return S_ISDIR(info.stx_mode) && statx(folder, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &above) == 0 &&
         (info.stx_dev_major != above.stx_dev_major || info.stx_dev_minor != above.stx_dev_minor);
}

bool IsMount(int folder, const std::string& name) {
  struct statx info;
  return StatEntry(folder, name, &info) && IsMountRoot(folder, info);
}

Fd OpenOnMount(int root, absl::string_view path, int flags) {
  return HasOpenAt2() ? OpenAt2(root, std::string(path), flags) : OpenStepByStep(root, path, flags);
}

Fd OpenFolderOnMount(int root, absl::string_view path) {
  const size_t slash = path.rfind('/');
  const absl::string_view folder = slash == absl::string_view::npos ? "." : path.substr(0, slash);
  return OpenOnMount(root, folder, O_RDONLY | O_DIRECTORY);
}

}  // namespace parley::agent
