#include "lib/rpc/process.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"

namespace parley::rpc {
namespace {

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

absl::Status Harden() {
  // A core dump would hold every secret of the process.
  const rlimit none{0, 0};
  if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0) != 0) {
    return Error(absl::StatusCode::kInternal, "PROCESS", absl::StrCat("cannot disable core dumps: ", ErrnoText(errno)));
  }
  // Debian's Abseil is built to look for deadlocks at every lock, and gRPC takes many: a tenth of a service's time.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  umask(077);
  signal(SIGPIPE, SIG_IGN);
  // A write beyond a limit is an error like a full disk, not the end.
  signal(SIGXFSZ, SIG_IGN);
  const sigset_t signals = StopSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // As many as allowed; with fewer the door takes fewer connections, which is no reason not to start.
  if (rlimit files; getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  return absl::OkStatus();
}

absl::Status Notify(const std::string& line) {
  const char* const notify_fd = getenv("NOTIFY_FD");
  if (notify_fd == nullptr) return absl::OkStatus();
  int fd = -1;
  if (!absl::SimpleAtoi(notify_fd, &fd) || fd < 0 || write(fd, line.data(), line.size()) < 0) {
    return Error(absl::StatusCode::kInvalidArgument, "NOTIFY_FD",
                 absl::StrCat("NOTIFY_FD is '", notify_fd, "', which is not an open descriptor's number"));
  }
  close(fd);
  return absl::OkStatus();
}

}  // namespace

absl::Status Process::Serving(absl::string_view address) {
  LogInfo("serving", {{"address", std::string(address)}});
  const std::string line = absl::StrCat(address, "\n");
  if (!ready_file_.empty()) RETURN_IF_ERROR(WriteFileAtomically(ready_file_, line, 0600));
  return Notify(line);
}

void Process::WaitForStop() {
  const sigset_t signals = StopSignals();
  int received = 0;
  while (sigwait(&signals, &received) != 0) {
  }
  LogInfo("stopping", {{"signal", received == SIGTERM ? "SIGTERM" : "SIGINT"}});
}

int RunService(absl::string_view name, const std::function<absl::Status(Process&)>& service) {
  SetLogService(name);
  Process process;
  absl::Status status = Harden();
  if (status.ok()) status = service(process);
  if (status.ok()) return 0;
  fprintf(stderr, "%s: %s\n", std::string(name).c_str(), std::string(status.message()).c_str());
  return 1;
}

}  // namespace parley::rpc
