#include "clients/agent/stop.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>

namespace parley::agent {

Stop::Stop() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

void Stop::Request() {
  const int error = errno;  // A signal handler leaves it as it was.
  eventfd_write(fd_.get(), 1);
  errno = error;
}

bool Stop::requested() const {
  pollfd fd = {fd_.get(), POLLIN, 0};
  return poll(&fd, 1, 0) > 0;
}

}  // namespace parley::agent
