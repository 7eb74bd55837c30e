// Opens what lies below a folder without following a link anywhere on the way.
//
// Threads: free functions without state; an Fd belongs to one thread at a time.
#ifndef PARLEY_LIB_PAYLOAD_BENEATH_H_
#define PARLEY_LIB_PAYLOAD_BENEATH_H_

#include <sys/types.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace parley::payload {

// A file descriptor that closes itself; a number below 0 stands for none.
class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

// Opens the folder that holds the last part of the relative path; "." gives root itself. The path must be "." or one
// that ValidateFiles accepts. Returns none, with errno, on failure: ENOTDIR or ELOOP if a part is a file or a link.
Fd OpenFolderBeneath(int root, absl::string_view path);

// Opens like openat(root, path, flags | O_NOFOLLOW | O_CLOEXEC, mode), except that no part of the path may be a link.
Fd OpenBeneath(int root, absl::string_view path, int flags, mode_t mode = 0);

// Returns the last part of a path.
std::string LastPart(absl::string_view path);

}  // namespace parley::payload

#endif  // PARLEY_LIB_PAYLOAD_BENEATH_H_
