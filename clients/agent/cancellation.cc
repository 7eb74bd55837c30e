#include "clients/agent/cancellation.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <chrono>
#include <utility>

#include "clients/agent/stop.h"
#include "lib/base/error.h"

namespace parley::agent {

absl::Status Stopped() { return Error(absl::StatusCode::kCancelled, "STOPPED", "stopped before the end"); }

void Cancellation::Cancel() {
  MutexLock lock(&mutex_);
  cancelled_ = true;
  for (const auto& [id, listener] : listeners_) listener();
  changed_.NotifyAll();
}

bool Cancellation::cancelled() const {
  MutexLock lock(&mutex_);
  return cancelled_;
}

absl::Status Cancellation::Sleep(absl::Duration duration) {
  // Not the injected clock: this spares a server that is away, whatever time it is.
  const auto end = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(duration);
  MutexLock lock(&mutex_);
  while (!cancelled_) {
    const auto left = end - std::chrono::steady_clock::now();
    if (left.count() <= 0) return absl::OkStatus();
    changed_.WaitFor(&mutex_, absl::FromChrono(left));
  }
  return Stopped();
}

Cancellation::Listener::Listener(Cancellation* cancellation, std::function<void()> listener)
    : cancellation_(cancellation) {
  MutexLock lock(&cancellation_->mutex_);
  if (cancellation_->cancelled_) listener();
  id_ = ++cancellation_->last_id_;
  cancellation_->listeners_.emplace(id_, std::move(listener));
}

Cancellation::Listener::~Listener() {
  MutexLock lock(&cancellation_->mutex_);
  cancellation_->listeners_.erase(id_);
}

StopWatcher::StopWatcher(const Stop* stop, Cancellation* cancellation) {
  if (stop == nullptr) return;
  end_fd_ = Fd(eventfd(0, EFD_CLOEXEC));
  thread_ = std::thread([stop_fd = stop->fd(), end_fd = end_fd_.get(), cancellation] {
    pollfd fds[] = {{stop_fd, POLLIN, 0}, {end_fd, POLLIN, 0}};
    while (poll(fds, 2, -1) < 0 && errno == EINTR) {
    }
    if (fds[0].revents != 0) cancellation->Cancel();
  });
}

StopWatcher::~StopWatcher() {
  if (!thread_.joinable()) return;
  eventfd_write(end_fd_.get(), 1);
  thread_.join();
}

}  // namespace parley::agent
