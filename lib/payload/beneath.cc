#include "lib/payload/beneath.h"

#include <fcntl.h>

namespace parley::payload {

Fd OpenFolderBeneath(int root, absl::string_view path) {
  Fd folder(openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (size_t slash = path.find('/'); folder.ok() && slash != absl::string_view::npos; slash = path.find('/')) {
    const std::string part(path.substr(0, slash));
    folder = Fd(openat(folder.get(), part.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    path.remove_prefix(slash + 1);
  }
  return folder;
}

Fd OpenBeneath(int root, absl::string_view path, int flags, mode_t mode) {
  const Fd folder = OpenFolderBeneath(root, path);
  if (!folder.ok()) return Fd();
  return Fd(openat(folder.get(), LastPart(path).c_str(), flags | O_NOFOLLOW | O_CLOEXEC, mode));
}

std::string LastPart(absl::string_view path) {
  const size_t slash = path.rfind('/');
  return std::string(slash == absl::string_view::npos ? path : path.substr(slash + 1));
}

}  // namespace parley::payload
