#include "clients/agent/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/payload/beneath.h"

extern char** environ;

namespace parley::agent {
namespace {

using payload::Fd;

// Between the request to end and the kill.
constexpr absl::Duration kGrace = absl::Seconds(2);

// Does not jump when somebody sets the clock.
absl::Time Monotonic() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::TimeFromTimespec(now);
}

absl::Status Failed(absl::string_view sentence) { return Error(absl::StatusCode::kAborted, "HOOK_FAILED", sentence); }

std::vector<std::string> Environment(const std::map<std::string, std::string>& variables) {
  std::vector<std::string> environment;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    // PARLEY_JOIN_KEY and its like are secrets of ours.
    if (!absl::StartsWith(*entry, "PARLEY_")) environment.push_back(*entry);
  }
  for (const auto& [name, value] : variables) environment.push_back(absl::StrCat(name, "=", value));
  return environment;
}

// In the child: only calls that are safe after a fork of a process with threads.
[[noreturn]] void Exec(int input, int output, pid_t parent, char* const* arguments, char* const* environment) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);  // It died before the line above.
  for (int number = 1; number < NSIG; ++number) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (dup2(input, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0) _exit(127);
  syscall(SYS_close_range, 3u, ~0u, 0u);
  execve(arguments[0], arguments, environment);
  _exit(127);
}

pid_t Start(const std::string& command, const std::map<std::string, std::string>& variables, int input, int output) {
  std::string shell = "/bin/sh", option = "-c", text = command;
  char* const arguments[] = {shell.data(), option.data(), text.data(), nullptr};
  std::vector<std::string> entries = Environment(variables);
  std::vector<char*> environment;
  for (std::string& entry : entries) environment.push_back(entry.data());
  environment.push_back(nullptr);
  const pid_t parent = getpid();
  // _Fork runs no handlers of libraries, which would take locks that other threads hold.
  const pid_t child = _Fork();
  if (child == 0) Exec(input, output, parent, arguments, environment.data());
  if (child > 0) setpgid(child, child);  // Whoever comes first.
  return child;
}

// Keeps the end of what comes out of the pipe. False at its end.
bool Drain(int fd, std::string* output) {
  char buffer[4096];
  while (true) {
    const ssize_t count = read(fd, buffer, sizeof(buffer));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno == EAGAIN;
    if (count == 0) return false;
    output->append(buffer, static_cast<size_t>(count));
    if (output->size() > kMaxHookOutputBytes) output->erase(0, output->size() - kMaxHookOutputBytes);
  }
}

// Collects output until the process has ended (true) or the time has come.
bool WaitUntil(int process, int* pipe, absl::Time end, std::string* output) {
  while (true) {
    const absl::Duration left = end - Monotonic();
    if (left <= absl::ZeroDuration()) return false;
    pollfd fds[] = {{process, POLLIN, 0}, {*pipe, POLLIN, 0}};
    const int64_t wait_ms = absl::ToInt64Milliseconds(std::min(left, absl::Hours(1))) + 1;
    if (poll(fds, 2, static_cast<int>(wait_ms)) < 0 && errno != EINTR) return false;
    if (fds[1].revents != 0 && !Drain(*pipe, output)) *pipe = -1;  // poll ignores it from now on.
    if (fds[0].revents != 0) {
      if (*pipe >= 0) Drain(*pipe, output);
      return true;
    }
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

}  // namespace

HookResult RunHook(const std::string& command, const std::map<std::string, std::string>& variables,
                   absl::Duration timeout) {
  HookResult result;
  const auto fail = [&result](absl::string_view doing) {
    result.status = Failed(absl::StrCat("the command could not be run: ", doing, ": ", ErrnoText(errno)));
    return result;
  };
  const absl::Time start = Monotonic();
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail("making a pipe");
  const Fd reader(ends[0]);
  Fd writer(ends[1]);
  fcntl(reader.get(), F_SETFL, O_NONBLOCK);
  const Fd null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!null.ok()) return fail("opening /dev/null");
  const pid_t child = Start(command, variables, null.get(), writer.get());
  if (child < 0) return fail("starting a process");
  writer = Fd();
  const Fd process(static_cast<int>(syscall(SYS_pidfd_open, child, 0)));
  int pipe = reader.get();
  bool ended = process.ok() && WaitUntil(process.get(), &pipe, start + timeout, &result.output);
  const bool timed_out = !ended;
  if (!ended) {
    kill(-child, SIGTERM);
    ended = process.ok() && WaitUntil(process.get(), &pipe, Monotonic() + kGrace, &result.output);
    kill(-child, SIGKILL);  // Also what the shell leaves behind; it is not reaped yet, so the number is still its own.
  }
  int wait_status = 0;
  pid_t waited;
  while ((waited = waitpid(child, &wait_status, 0)) < 0 && errno == EINTR) {
  }
  result.duration = Monotonic() - start;
  // Nobody may take a command for passed whose end nobody saw, e.g. because SIGCHLD is ignored.
  if (waited != child) return fail("waiting for it");
  result.status =
      timed_out
          ? Failed(absl::StrCat("the command did not end within ", absl::FormatDuration(timeout), " and was killed"))
          : Describe(wait_status);
  return result;
}

}  // namespace parley::agent
