// A file descriptor with an owner.
//
// Threads: not thread-safe.
#ifndef PARLEY_LIB_BASE_FD_H_
#define PARLEY_LIB_BASE_FD_H_

#include <unistd.h>

#include <utility>

namespace parley {

// A file descriptor that closes itself; below 0 is none.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
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
  int fd_ = -1;
};

}  // namespace parley

#endif  // PARLEY_LIB_BASE_FD_H_
