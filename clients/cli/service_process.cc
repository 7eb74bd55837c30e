#include "clients/cli/service_process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "clients/cli/paths.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"

namespace parley::cli {
namespace {

constexpr int kStopMilliseconds = 20'000;

// What runs between fork and exec: system calls alone.
[[noreturn]] void RunChild(pid_t parent, int log, const char* folder, char* const* arguments) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(1);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  const int nothing = open("/dev/null", O_RDONLY);
  dup2(nothing, STDIN_FILENO);
  if (*folder != '\0' && chdir(folder) != 0) _exit(127);
  execv(arguments[0], arguments);
  _exit(127);
}

// The last line of the log that is a sentence and not a JSON record.
std::string LastSentence(const std::string& path, off_t start) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.ok()) return "";
  struct stat status;
  std::string text(8192, '\0');
  ssize_t size = 0;
  if (fstat(fd.get(), &status) == 0) {
    start = std::max<off_t>(start, status.st_size - static_cast<off_t>(text.size()));
    size = pread(fd.get(), text.data(), text.size(), start);
  }
  text.resize(size > 0 ? static_cast<size_t>(size) : 0);
  std::string sentence;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    if (!absl::StartsWith(line, "{")) sentence = std::string(line);
  }
  return sentence;
}

}  // namespace

absl::StatusOr<std::string> FindProgram(const std::string& name) {
  char self[PATH_MAX];
  const ssize_t size = readlink("/proc/self/exe", self, sizeof(self));
  std::vector<std::string> folders = absl::StrSplit(Environment("PARLEY_LIBEXEC"), ':', absl::SkipEmpty());
  if (size > 0) folders.insert(folders.begin(), FolderOf(std::string(self, static_cast<size_t>(size))));
  for (const std::string& folder : folders) {
    struct stat status;
    const std::string path = absl::StrCat(folder, "/", name);
    if (stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && ::access(path.c_str(), X_OK) == 0) return path;
  }
  return Error(absl::StatusCode::kNotFound, "PROGRAM_MISSING",
               absl::StrCat(name,
                            " is neither beside this program nor in $PARLEY_LIBEXEC; run it through tools/parley, "
                            "or say where it is with PARLEY_LIBEXEC=FOLDER"));
}

absl::StatusOr<std::unique_ptr<ServiceProcess>> ServiceProcess::Start(const ServiceProgram& program) {
  const Fd log(open(program.log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!log.ok()) return FileError("write", program.log_path, errno);
  const off_t log_start = lseek(log.get(), 0, SEEK_END);
  for (const std::string& path : program.leftovers) unlink(path.c_str());
  std::vector<char*> argv = {const_cast<char*>(program.path.c_str())};
  for (const std::string& argument : program.arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) RunChild(parent, log.get(), program.folder.c_str(), argv.data());
  if (pid < 0) return absl::InternalError(absl::StrCat("cannot start ", program.path, ": ", ErrnoText(errno)));
  return std::unique_ptr<ServiceProcess>(new ServiceProcess(program.name, pid, program.log_path, log_start));
}

ServiceProcess::ServiceProcess(std::string name, pid_t pid, std::string log_path, off_t log_start)
    : name_(std::move(name)), pid_(pid), log_path_(std::move(log_path)), log_start_(log_start) {}

ServiceProcess::~ServiceProcess() { Stop(); }

bool ServiceProcess::Ended() {
  if (!ended_) ended_ = waitpid(pid_, &wait_status_, WNOHANG) == pid_;
  return ended_;
}

absl::Status ServiceProcess::WhyEnded() const {
  const std::string sentence = LastSentence(log_path_, log_start_);
  if (!sentence.empty()) {
    return Error(absl::StatusCode::kAborted, "SERVICE_ENDED",
                 absl::StartsWith(sentence, name_) ? sentence : absl::StrCat(name_, ": ", sentence));
  }
  const std::string how = WIFSIGNALED(wait_status_) ? absl::StrCat("was killed by ", strsignal(WTERMSIG(wait_status_)))
                                                    : absl::StrCat("ended with ", WEXITSTATUS(wait_status_));
  return Error(absl::StatusCode::kAborted, "SERVICE_ENDED", absl::StrCat(name_, " ", how, "; its log is ", log_path_));
}

void ServiceProcess::Stop() {
  if (Ended()) return;
  kill(pid_, SIGTERM);
  // A file descriptor of the process is readable once it has ended.
  const Fd fd(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
  pollfd wait = {fd.get(), POLLIN, 0};
  if (!fd.ok() || poll(&wait, 1, kStopMilliseconds) == 0) kill(pid_, SIGKILL);
  ended_ = waitpid(pid_, &wait_status_, 0) == pid_;
}

}  // namespace parley::cli
