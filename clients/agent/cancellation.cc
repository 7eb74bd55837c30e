#include "clients/agent/cancellation.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <utility>

#include "lib/base/error.h"

namespace parley::agent {
namespace {

// Time is taken from the monotonic clock: a pause spares a server that is away, whatever time it is.
absl::Duration Uptime() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::DurationFromTimespec(now);
}

}  // namespace

absl::Status Stopped() { return Error(absl::StatusCode::kCancelled, "STOPPED", "stopped before the end"); }

Cancellation::Cancellation()
    : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), end_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Cancellation::~Cancellation() {
  eventfd_write(end_fd_.get(), 1);
  std::thread thread;
  {
    MutexLock lock(&mutex_);
    thread = std::move(thread_);
  }
  if (thread.joinable()) thread.join();
}

void Cancellation::Cancel() {
  const int error = errno;  // A signal handler leaves it as it was.
  cancelled_ = true;
  eventfd_write(fd_.get(), 1);
  errno = error;
}

absl::Status Cancellation::Sleep(absl::Duration duration) {
  const absl::Duration end = Uptime() + duration;
  pollfd fd = {fd_.get(), POLLIN, 0};
  do {
    if (cancelled()) return Stopped();
    const timespec left = absl::ToTimespec(std::max(absl::ZeroDuration(), end - Uptime()));
    if (ppoll(&fd, 1, &left, nullptr) > 0) return Stopped();
  } while (Uptime() < end);
  return absl::OkStatus();
}

void Cancellation::CallListeners() {
  pollfd fds[] = {{fd_.get(), POLLIN, 0}, {end_fd_.get(), POLLIN, 0}};
  while (poll(fds, 2, -1) < 0 && errno == EINTR) {
  }
  if (fds[0].revents == 0) return;
  MutexLock lock(&mutex_);
  called_ = true;
  for (const auto& [id, listener] : listeners_) listener();
}

Cancellation::Listener::Listener(Cancellation* cancellation, std::function<void()> listener)
    : cancellation_(cancellation) {
  MutexLock lock(&cancellation_->mutex_);
  if (cancellation_->called_) listener();
  id_ = ++cancellation_->last_id_;
  cancellation_->listeners_.emplace(id_, std::move(listener));
  if (!cancellation_->thread_.joinable()) {
    cancellation_->thread_ = std::thread([cancellation] { cancellation->CallListeners(); });
  }
}

Cancellation::Listener::~Listener() {
  MutexLock lock(&cancellation_->mutex_);
  cancellation_->listeners_.erase(id_);
}

}  // namespace parley::agent
