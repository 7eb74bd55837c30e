#include "lib/transport/event_loop.h"

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <utility>

namespace parley::transport {
namespace {

constexpr int kEventsAtOnce = 128;

std::atomic<EventLoop::FarEnds*> all_far_ends = nullptr;

// How the shared loop runs, once that is settled: it can not be changed any more.
enum class Shape { kOpen, kThread, kTurns };
std::atomic<Shape> shared_shape = Shape::kOpen;

// Tells the shared loop that there is something to do.
class FarEndsWatch final : public EventLoop::Watch {
 public:
  void OnEvents(uint32_t) override { EventLoop::Shared()->TouchedLocalSocket(); }
};

}  // namespace

EventLoop::EventLoop(bool has_thread)
    : epoll_fd_(epoll_create1(EPOLL_CLOEXEC)),
      wake_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      timer_fd_(has_thread ? -1 : timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)) {
  Add(wake_fd_.get(), EPOLLIN | EPOLLET, nullptr);
  if (!has_thread) {
    Add(timer_fd_.get(), EPOLLIN | EPOLLET, nullptr);
    return;
  }
  // Signals are the process's business, never this thread's.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { Loop(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

EventLoop::~EventLoop() { Stop(); }

EventLoop* EventLoop::Shared() {
  static EventLoop* const loop = [] {
    Shape shape = Shape::kOpen;
    return new EventLoop(shared_shape.compare_exchange_strong(shape, Shape::kThread) || shape == Shape::kThread);
  }();
  return loop;
}

bool EventLoop::TakeTurnsAtShared() {
  Shape shape = Shape::kOpen;
  return shared_shape.compare_exchange_strong(shape, Shape::kTurns) || shape == Shape::kTurns;
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
  if (!has_thread()) return RunInTurn(task);
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
  if (thread_.joinable()) thread_.join();
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

void EventLoop::SetTimer() {
  const Instant next = delayed_.empty() ? Instant::max() : delayed_.begin()->first;
  if (std::exchange(timer_at_, next) == next || delayed_.empty()) return;
  const auto nanos = std::chrono::nanoseconds(next.time_since_epoch()).count();
  const itimerspec when{.it_value = {.tv_sec = nanos / 1'000'000'000, .tv_nsec = nanos % 1'000'000'000}};
  timerfd_settime(timer_fd_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

void EventLoop::Turn() {
  if (InLoop()) return;
  {
    MutexLock lock(&turn_mutex_);
    turn_due_ = true;
    // Whoever has the turn looks once more after it.
    if (std::exchange(turn_taken_, true)) return;
  }
  EndTurn();
}

void EventLoop::RunInTurn(const std::function<void()>& task) {
  {
    MutexLock lock(&turn_mutex_);
    while (turn_taken_) turn_over_.Wait(&turn_mutex_);
    turn_taken_ = true;
    turn_due_ = true;
  }
  HaveTurn(task);
  EndTurn();
}

void EventLoop::EndTurn() {
  while (true) {
    {
      MutexLock lock(&turn_mutex_);
      if (!std::exchange(turn_due_, false)) {
        turn_taken_ = false;
        return turn_over_.NotifyAll();
      }
    }
    HaveTurn([this] {
      while (Pass(0)) {
      }
    });
  }
}

void EventLoop::HaveTurn(const std::function<void()>& work) {
  runner_ = std::this_thread::get_id();
  work();
  retired_.clear();
  SetTimer();
  runner_ = std::thread::id();
}

void EventLoop::Loop() {
  pthread_setname_np(pthread_self(), "parley-relay");
  runner_ = std::this_thread::get_id();
  while (!stopping_.load(std::memory_order_relaxed)) Pass(far_ends_due_ ? 0 : TimeoutMillis());
  runner_ = std::thread::id();
}

bool EventLoop::Pass(int timeout_millis) {
  epoll_event events[kEventsAtOnce];
  const int count = epoll_wait(epoll_fd_.get(), events, kEventsAtOnce, timeout_millis);
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
  return count > 0;
}

}  // namespace parley::transport
