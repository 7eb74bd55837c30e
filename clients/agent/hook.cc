#include "clients/agent/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "clients/agent/boot_clock.h"
#include "clients/agent/hook_group.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"

extern char** environ;

namespace parley::agent {
namespace {

// Between the request to end and the kill.
constexpr absl::Duration kGrace = absl::Seconds(2);

absl::Status Failed(absl::string_view sentence) { return Error(absl::StatusCode::kAborted, "HOOK_FAILED", sentence); }

// Says nothing of the set: the machine had no room for another process, or no descriptor.
absl::Status NotStarted(absl::string_view sentence) {
  return Error(absl::StatusCode::kUnavailable, "HOOK_NOT_STARTED", sentence);
}

std::vector<std::string> Environment(const std::map<std::string, std::string>& variables) {
  std::vector<std::string> environment;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    // PARLEY_JOIN_KEY and its like are secrets of ours, and the working folder is another one.
    const absl::string_view variable = *entry;
    const bool ours = absl::StartsWith(variable, "PARLEY_");
    const bool folder = absl::StartsWith(variable, "PWD=") || absl::StartsWith(variable, "OLDPWD=");
    if (!ours && !folder) environment.emplace_back(variable);
  }
  for (const auto& [name, value] : variables) environment.push_back(absl::StrCat(name, "=", value));
  return environment;
}

struct Descriptors {
  int input;
  int output;
  // The child says by a byte that it has a session of its own; the command runs when one comes back.
  int go;
};

// In the child: only calls that are safe after a fork of a process with threads.
[[noreturn]] void Exec(const Descriptors& fds, const char* folder, pid_t parent, char* const* arguments,
                       char* const* environment) {
  setsid();
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);  // It died before the line above.
  for (int number = 1; number < NSIG; ++number) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  char byte = 'r';
  if (write(fds.go, &byte, 1) != 1 || read(fds.go, &byte, 1) != 1) _exit(127);
  // By its path, so that it is the folder that is in place now.
  if (chdir(folder) != 0 && chdir("/") != 0) _exit(127);
  if (dup2(fds.input, 0) < 0 || dup2(fds.output, 1) < 0 || dup2(fds.output, 2) < 0) _exit(127);
  syscall(SYS_close_range, 3u, ~0u, 0u);
  execve(arguments[0], arguments, environment);
  _exit(127);
}

pid_t Start(const HookCommand& hook, const Descriptors& fds) {
  std::string shell = "/bin/sh", option = "-c", text = hook.command;
  char* const arguments[] = {shell.data(), option.data(), text.data(), nullptr};
  std::vector<std::string> entries = Environment(hook.variables);
  std::vector<char*> environment;
  for (std::string& entry : entries) environment.push_back(entry.data());
  environment.push_back(nullptr);
  const pid_t parent = getpid();
  // _Fork runs no handlers of libraries, which would take locks that other threads hold.
  const pid_t child = _Fork();
  if (child == 0) Exec(fds, hook.folder.c_str(), parent, arguments, environment.data());
  return child;
}

// Keeps the end of what comes out of the pipe. False at its end. Comes back also when more is there already: a command
// that never stops talking has a time limit too.
bool Drain(int fd, std::string* output) {
  char buffer[4096];
  for (int rounds = 0; rounds < 32; ++rounds) {
    const ssize_t count = read(fd, buffer, sizeof(buffer));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno == EAGAIN;
    if (count == 0) return false;
    output->append(buffer, static_cast<size_t>(count));
    if (output->size() > kMaxHookOutputBytes) output->erase(0, output->size() - kMaxHookOutputBytes);
  }
  return true;
}

// Collects output until the process has ended (true) or the time has come.
bool WaitUntil(int process, int* pipe, absl::Duration end, std::string* output) {
  while (true) {
    // At least one look: the time may have passed while this process was stopped, and the command have ended in it.
    const absl::Duration left = std::max(absl::ZeroDuration(), end - SteadyTime());
    pollfd fds[] = {{process, POLLIN, 0}, {*pipe, POLLIN, 0}};
    const bool last = left == absl::ZeroDuration();
    const int64_t wait_ms = last ? 0 : absl::ToInt64Milliseconds(std::min(left, absl::Hours(1))) + 1;
    if (poll(fds, 2, static_cast<int>(wait_ms)) < 0 && errno != EINTR) return false;
    if (fds[1].revents != 0 && !Drain(*pipe, output)) *pipe = -1;  // poll ignores it from now on.
    if (fds[0].revents != 0) {
      if (*pipe >= 0) Drain(*pipe, output);
      return true;
    }
    if (last) return false;
  }
}

absl::Status Describe(int wait_status) {
  if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0) return absl::OkStatus();
  if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 127) {
    return Failed("the command could not be run, or was not found (exit code 127)");
  }
  if (WIFEXITED(wait_status))
    return Failed(absl::StrCat("the command failed with exit code ", WEXITSTATUS(wait_status)));
  return Failed(absl::StrCat("the command was ended by signal ", WTERMSIG(wait_status), " (",
                             strsignal(WTERMSIG(wait_status)), ")"));
}

// False when the command did not end in time; then its session has been killed.
bool AwaitEnd(pid_t child, int output_pipe, absl::Duration end, std::string* output) {
  const Fd process(static_cast<int>(syscall(SYS_pidfd_open, child, 0)));
  int pipe = output_pipe;
  if (process.ok() && WaitUntil(process.get(), &pipe, end, output)) return true;
  SignalSession(child, SIGTERM);
  if (process.ok()) WaitUntil(process.get(), &pipe, SteadyTime() + kGrace, output);
  SignalSession(child, SIGKILL);  // Also what the shell leaves behind; it is not reaped yet, so the number is its own.
  return false;
}

// Before the number is given up, what a failed command has left of its session ends too.
bool Reap(pid_t child, int* wait_status) {
  siginfo_t info = {};
  while (waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
  }
  if (info.si_pid == child && (info.si_code != CLD_EXITED || info.si_status != 0)) SignalSession(child, SIGKILL);
  pid_t waited;
  while ((waited = waitpid(child, wait_status, 0)) < 0 && errno == EINTR) {
  }
  return waited == child;
}

}  // namespace

HookResult RunHook(const HookCommand& hook) {
  HookResult result;
  const auto fail = [&result](absl::string_view doing) {
    result.status = NotStarted(absl::StrCat("the command could not be run: ", doing, ": ", ErrnoText(errno)));
    return result;
  };
  const absl::Duration start = SteadyTime();
  int ends[2], go_ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail("making a pipe");
  const Fd reader(ends[0]);
  Fd writer(ends[1]);
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, go_ends) != 0) return fail("making a pipe");
  Fd childs_go(go_ends[0]);
  const Fd go(go_ends[1]);
  fcntl(reader.get(), F_SETFL, O_NONBLOCK);
  const Fd null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!null.ok()) return fail("opening /dev/null");
  const pid_t child = Start(hook, {null.get(), writer.get(), childs_go.get()});
  if (child < 0) return fail("starting a process");
  writer = Fd();
  childs_go = Fd();
  // Nothing comes from a child that has died.
  char ready;
  while (read(go.get(), &ready, 1) < 0 && errno == EINTR) {
  }
  const absl::Status started = hook.started == nullptr ? absl::OkStatus() : hook.started(child);
  if (!started.ok() || send(go.get(), "g", 1, MSG_NOSIGNAL) != 1) kill(-child, SIGKILL);
  int wait_status = 0;
  const bool timed_out = !AwaitEnd(child, reader.get(), start + hook.timeout, &result.output);
  const bool reaped = Reap(child, &wait_status);
  result.duration = SteadyTime() - start;
  // Nobody may take a command for passed whose end nobody saw, e.g. because SIGCHLD is ignored.
  if (!reaped) {
    result.status = Error(absl::StatusCode::kUnknown, "HOOK_END_UNSEEN",
                          absl::StrCat("how the command ended could not be seen: ", ErrnoText(errno)));
    return result;
  }
  result.status = Describe(wait_status);
  if (timed_out) {
    result.status =
        Failed(absl::StrCat("the command did not end within ", absl::FormatDuration(hook.timeout), " and was killed"));
  }
  if (!started.ok()) result.status = started;
  return result;
}

}  // namespace parley::agent
