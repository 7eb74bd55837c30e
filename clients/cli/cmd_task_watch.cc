// parley task watch: a task as it goes, over reconnects.
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "clients/cli/command.h"
#include "clients/cli/connection.h"
#include "clients/cli/output.h"
#include "clients/cli/paths.h"
#include "clients/cli/screen.h"
#include "clients/cli/signals.h"
#include "clients/cli/task_name.h"
#include "clients/cli/task_text.h"
#include "clients/cli/terminal.h"
#include "clients/cli/watch_view.h"
#include "clients/operator/watch.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "lib/base/mutex.h"
#include "lib/keys/identity.h"
#include "parley/task/v1/task_service.pb.h"

namespace parley::cli {
namespace {

using task::v1::Task;
using task::v1::WatchTaskResponse;
using SteadyClock = std::chrono::steady_clock;

// The whole task is summed up again no sooner than this.
constexpr auto kSummaryGap = std::chrono::seconds(2);
constexpr auto kFrameGap = std::chrono::milliseconds(100);

// What shows the events. One thread calls the methods.
class Viewer {
 public:
  virtual ~Viewer() = default;
  virtual void Show(const WatchTaskResponse& event) = 0;
  virtual void Away(const absl::Status& why) = 0;
  // Nothing more comes.
  virtual void End() {}
  // The signal that somebody sent to end this; 0 for none.
  virtual int ended_by() const { return 0; }
};

class JsonViewer final : public Viewer {
 public:
  void Show(const WatchTaskResponse& event) override { PrintJson(event); }
  void Away(const absl::Status&) override {}
};

// For pipes and logs: a line for each client that has come to an end, and now and then one for the whole task.
class LineViewer final : public Viewer {
 public:
  explicit LineViewer(bool every_change) : every_change_(every_change), thread_([this] { SumUpLater(); }) {}
  ~LineViewer() override { End(); }

  void Show(const WatchTaskResponse& event) override {
    MutexLock lock(&mutex_);
    for (const std::string& line : view_.Update(event, every_change_)) PrintLine(line);
    if (SteadyClock::now() >= summed_up_ + kSummaryGap) SumUp();
    changed_.NotifyAll();
  }
  void Away(const absl::Status& why) override {
    MutexLock lock(&mutex_);
    PrintLine(Dim(absl::StrCat("  waiting for the server: ", why.message())));
  }
  void End() override {
    if (!thread_.joinable()) return;
    {
      MutexLock lock(&mutex_);
      ended_ = true;
      changed_.NotifyAll();
    }
    thread_.join();
  }

 private:
  void SumUp() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (view_.task().name().empty() || view_.Summary() == printed_) return;
    PrintLine(printed_ = view_.Summary());
    summed_up_ = SteadyClock::now();
  }

  // What the last event of several left unsaid.
  void SumUpLater() {
    MutexLock lock(&mutex_);
    while (!ended_) {
      const bool due = !view_.task().name().empty() && view_.Summary() != printed_;
      const auto left = summed_up_ + kSummaryGap - SteadyClock::now();
      if (!due) {
        changed_.Wait(&mutex_);
      } else if (left > SteadyClock::duration::zero()) {
        changed_.WaitFor(&mutex_, absl::FromChrono(left));
      } else {
        SumUp();
      }
    }
    SumUp();
  }

  const bool every_change_;
  Mutex mutex_;
  CondVar changed_;
  WatchView view_ ABSL_GUARDED_BY(mutex_);
  std::string printed_ ABSL_GUARDED_BY(mutex_);
  SteadyClock::time_point summed_up_ ABSL_GUARDED_BY(mutex_) = SteadyClock::now() - kSummaryGap;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

// For terminals: one screen, drawn by a thread that also hears the signals. What it showed last stays behind it.
class ScreenViewer final : public Viewer {
 public:
  // `signals` has those that HandleSignal knows. `cancel` ends the watch, and may be called from any thread.
  ScreenViewer(SignalFd* signals, std::function<void()> cancel)
      : signals_(signals),
        cancel_(std::move(cancel)),
        changed_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        thread_([this] { Run(); }) {}
  ~ScreenViewer() override { End(); }

  void Show(const WatchTaskResponse& event) override {
    MutexLock lock(&mutex_);
    view_.Update(event, false);
    Changed();
  }
  void Away(const absl::Status& why) override {
    MutexLock lock(&mutex_);
    view_.SetAway(std::string(why.message()));
    Changed();
  }
  void End() override {
    if (!thread_.joinable()) return;
    ended_ = true;
    Changed();
    thread_.join();
    screen_.Leave();
    for (const std::string& line : Frame()) PrintLine(line);
  }
  int ended_by() const override { return ended_by_; }

 private:
  void Changed() {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(changed_fd_.get(), &one, sizeof(one));
  }

  std::vector<std::string> Frame() {
    const TerminalSize size = GetTerminalSize();
    MutexLock lock(&mutex_);
    if (view_.task().name().empty()) return {};
    return view_.Screen(size.rows - 1, size.columns, absl::Now());
  }

  void HandleSignal(int number) {
    if (number == SIGTSTP) {
      screen_.Leave();
      raise(SIGSTOP);
      screen_.Enter();
    } else if (number != 0 && number != SIGWINCH) {
      ended_by_ = number;
      cancel_();
    }
  }

  void Run() {
    while (!ended_) {
      screen_.Draw(Frame());
      const SteadyClock::time_point drawn = SteadyClock::now();
      pollfd fds[] = {{changed_fd_.get(), POLLIN, 0}, {signals_->fd(), POLLIN, 0}};
      poll(fds, 2, -1);
      HandleSignal(signals_->ReadPending());
      // Several changes make one frame.
      if (fds[1].revents == 0 && !ended_) std::this_thread::sleep_until(drawn + kFrameGap);
      uint64_t count;
      [[maybe_unused]] const ssize_t got = read(changed_fd_.get(), &count, sizeof(count));
    }
  }

  SignalFd* const signals_;
  const std::function<void()> cancel_;
  const Fd changed_fd_;
  Screen screen_;
  Mutex mutex_;
  WatchView view_ ABSL_GUARDED_BY(mutex_);
  std::atomic<bool> ended_ = false;
  std::atomic<int> ended_by_ = 0;
  std::thread thread_;
};

// Ends the process as the signal would have.
void EndBy(int number) {
  signal(number, SIG_DFL);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, number);
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
  raise(number);
}

struct WatchFlags {
  std::string task;
  bool all = false;
};

absl::StatusOr<ExitCode> Watch(const Globals& globals, const WatchFlags& flags) {
  ASSIGN_OR_RETURN(const std::string name, FullTaskName(flags.task));
  const bool on_screen = !globals.json() && !flags.all && StdoutIsTerminal() && Environment("TERM") != "dumb";
  // A password is asked for while signals still do what they do.
  RETURN_IF_ERROR(LoadCredential(globals).status());
  // Taken before the first thread, and for as long as the process lives.
  static SignalFd* const signals = on_screen ? new SignalFd({SIGWINCH, SIGINT, SIGTERM, SIGHUP, SIGTSTP}) : nullptr;
  ASSIGN_OR_RETURN(const std::unique_ptr<ops::Connection> server, Connect(globals, keys::kTaskd));
  ops::TaskWatch watch(server.get(), name);
  std::unique_ptr<Viewer> viewer;
  if (globals.json()) {
    viewer = std::make_unique<JsonViewer>();
  } else if (on_screen) {
    viewer = std::make_unique<ScreenViewer>(signals, [&watch] { watch.Stop(); });
  } else {
    viewer = std::make_unique<LineViewer>(flags.all);
  }
  const absl::StatusOr<Task> task = watch.Run({[&viewer](const WatchTaskResponse& event) { viewer->Show(event); },
                                               [&viewer](const absl::Status& why) { viewer->Away(why); }});
  viewer->End();
  if (viewer->ended_by() != 0) EndBy(viewer->ended_by());
  RETURN_IF_ERROR(task.status());
  if (!globals.json() && task->state() == Task::STATE_HALTED) {
    PrintLine("  ", Red("✘"), " ", Printable(task->state_reason()));
    for (const std::string& line : WaysOn(*task)) PrintLine(line);
  }
  return task->state() == Task::STATE_COMPLETED ? kSuccess : kFailure;
}

}  // namespace

void AddTaskWatch(Command task, Globals* globals) {
  auto flags = std::make_shared<WatchFlags>();
  Command command =
      AddCommand(task, globals, "watch", "Follow a task until it has ended", kCallerOptions, flags, &Watch);
  command.AddOption("task", flags->task, "The task's name").Required();
  command.AddFlag("--all", flags->all, "Print a line for every change of every client");
  command.Footer(
      "On a terminal it is one screen, with the clients that are in trouble by name. Elsewhere it prints a line for\n"
      "each client that comes to an end, and now and then one for the whole task.\n"
      "It goes on over a restart of the server without missing a change. Its exit code is 0 if the task\n"
      "completed without errors, and 1 if the task ended in another way or was halted.");
}

}  // namespace parley::cli
