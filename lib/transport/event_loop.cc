#include "lib/transport/event_loop.h"

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <utility>

namespace parley::transport {
namespace {

constexpr int kEventsAtOnce = 128;

std::atomic<EventLoop::FarEnds*> all_far_ends = nullptr;

// Tells the shared loop that there is something to do.
class FarEndsWatch final : public EventLoop::Watch {
 public:
  void OnEvents(uint32_t) override { EventLoop::Shared()->TouchedLocalSocket(); }
};

}  // namespace

EventLoop::EventLoop() : epoll_fd_(epoll_create1(EPOLL_CLOEXEC)), wake_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.ptr = nullptr}};
  epoll_ctl(epoll_fd_.get(), EPOLL_CTL_ADD, wake_fd_.get(), &event);
  // Signals are the process's business, never this thread's.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { Loop(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

EventLoop::~EventLoop() { Stop(); }

EventLoop* EventLoop::Shared() {
  static EventLoop* const loop = new EventLoop;
  return loop;
}

void EventLoop::ServeFarEnds(FarEnds* far_ends) {
  all_far_ends = far_ends;
  Shared()->Run([far_ends] {
    static FarEndsWatch watch;
    Shared()->Add(far_ends->fd(), EPOLLIN, &watch);
  });
}

bool EventLoop::ServesFarEnds() { return all_far_ends.load() != nullptr; }

bool EventLoop::Add(int fd, uint32_t events, Watch* watch) {
  epoll_event event{.events = events, .data = {.ptr = watch}};
  return epoll_ctl(epoll_fd_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void EventLoop::Change(int fd, uint32_t events, Watch* watch) {
  epoll_event event{.events = events, .data = {.ptr = watch}};
  epoll_ctl(epoll_fd_.get(), EPOLL_CTL_MOD, fd, &event);
}

void EventLoop::Remove(int fd) { epoll_ctl(epoll_fd_.get(), EPOLL_CTL_DEL, fd, nullptr); }

void EventLoop::Close(Fd* fd) {
  if (!fd->ok()) return;
  Remove(fd->get());
  *fd = Fd();
}

void EventLoop::Post(std::function<void()> task) {
  bool first;
  {
    MutexLock lock(&mutex_);
    if (stopped_) return;
    first = posted_.empty();
    posted_.push_back(std::move(task));
  }
  // In the loop's own thread too: it may be past RunPosted, and about to sleep.
  if (first) eventfd_write(wake_fd_.get(), 1);
}

void EventLoop::PostAfter(absl::Duration delay, std::function<void()> task) {
  const Instant when = std::chrono::steady_clock::now() + absl::ToChronoMilliseconds(delay);
  Post([this, when, task = std::move(task)]() mutable { delayed_.emplace(when, std::move(task)); });
}

void EventLoop::Run(const std::function<void()>& task) {
  if (InLoop()) return task();
  Mutex mutex;
  CondVar done_cond;
  bool done = false;
  // Whoever drops the closure has run it, or never will: both end the wait.
  std::shared_ptr<void> end(nullptr, [&](void*) {
    MutexLock lock(&mutex);
    done = true;
    done_cond.NotifyAll();
  });
  Post([&task, end = std::move(end)] { task(); });
  MutexLock lock(&mutex);
  while (!done) done_cond.Wait(&mutex);
}

void EventLoop::Stop() {
  if (stopping_.exchange(true)) return;
  eventfd_write(wake_fd_.get(), 1);
  thread_.join();
  std::vector<std::function<void()>> dropped;
  {
    MutexLock lock(&mutex_);
    stopped_ = true;
    dropped.swap(posted_);
  }
  delayed_.clear();
  retired_.clear();
}

void EventLoop::RunPosted() {
  std::vector<std::function<void()>> tasks;
  {
    MutexLock lock(&mutex_);
    tasks.swap(posted_);
  }
  for (auto& task : tasks) {
    task();
    task = nullptr;
  }
  if (delayed_.empty()) return;
  const Instant now = std::chrono::steady_clock::now();
  while (!delayed_.empty() && delayed_.begin()->first <= now) {
    const std::function<void()> task = std::move(delayed_.begin()->second);
    delayed_.erase(delayed_.begin());
    task();
  }
}

int EventLoop::TimeoutMillis() {
  if (delayed_.empty()) return -1;
  const auto left = delayed_.begin()->first - std::chrono::steady_clock::now();
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(left).count() + 1;
  return static_cast<int>(std::clamp<int64_t>(millis, 0, 60'000));
}

void EventLoop::Loop() {
  pthread_setname_np(pthread_self(), "parley-relay");
  epoll_event events[kEventsAtOnce];
  while (!stopping_.load(std::memory_order_relaxed)) {
    const int timeout = far_ends_due_ ? 0 : TimeoutMillis();
    const int count = epoll_wait(epoll_fd_.get(), events, kEventsAtOnce, timeout);
    bool woken = false;
    for (int i = 0; i < count; ++i) {
      if (events[i].data.ptr == nullptr) {
        // Edge-triggered: each write wakes, so nothing need be read.
        woken = true;
      } else {
        static_cast<Watch*>(events[i].data.ptr)->OnEvents(events[i].events);
      }
    }
    if (woken || !delayed_.empty()) RunPosted();
    if (std::exchange(far_ends_due_, false)) {
      FarEnds* const far_ends = all_far_ends.load(std::memory_order_relaxed);
      far_ends_due_ = far_ends != nullptr && far_ends->Work();
    }
    retired_.clear();
  }
}

}  // namespace parley::transport
