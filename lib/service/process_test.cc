#include "lib/service/process.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

namespace parley::service {
namespace {

// Runs a service in a child, whose standard error comes back with its exit code.
struct Ended {
  int code = -1;
  std::string errors;
};

class ProcessTest : public testing::Test {
 protected:
  void Run(const std::function<absl::Status(Process&)>& service, ProcessOptions options = {}) {
    options.name = "testd";
    int errors[2], notify[2];
    ASSERT_EQ(pipe(errors), 0);
    ASSERT_EQ(pipe(notify), 0);
    child_ = fork();
    if (child_ == 0) {
      dup2(errors[1], STDERR_FILENO);
      setenv("NOTIFY_FD", absl::StrCat(notify[1]).c_str(), 1);
      _exit(RunService(options, service));
    }
    close(errors[1]);
    close(notify[1]);
    errors_ = errors[0];
    notify_ = notify[0];
  }
  static std::string ReadToEnd(int fd) {
    std::string text;
    char buffer[256];
    for (ssize_t count; (count = read(fd, buffer, sizeof(buffer))) > 0;) text.append(buffer, count);
    close(fd);
    return text;
  }
  Ended Wait() {
    Ended ended;
    ended.errors = ReadToEnd(errors_);
    int status = 0;
    waitpid(child_, &status, 0);
    if (WIFEXITED(status)) ended.code = WEXITSTATUS(status);
    return ended;
  }

  pid_t child_ = -1;
  int errors_ = -1;
  int notify_ = -1;
};

// No thread of the process takes it for the end that an unexpected signal is.
TEST_F(ProcessTest, ASignalThatComesBeforeItIsAwaitedStopsIt) {
  Run([](Process& process) -> absl::Status {
    for (int i = 0; i < 20; ++i) kill(getpid(), SIGTERM);
    process.WaitForStop();
    return absl::OkStatus();
  });
  const Ended ended = Wait();
  EXPECT_EQ(ended.code, 0) << ended.errors;
}

TEST_F(ProcessTest, TellsWhenItServesAndStopsOnSigterm) {
  const std::string ready = testing::TempDir() + "/ready";
  for (const int signal : {SIGTERM, SIGINT}) {
    Run(
        [](Process& process) -> absl::Status {
          RETURN_IF_ERROR(process.Serving("127.0.0.1:1234"));
          process.WaitForStop();
          return absl::OkStatus();
        },
        {.ready_file = ready});
    EXPECT_EQ(ReadToEnd(notify_), "127.0.0.1:1234\n");
    EXPECT_EQ(*ReadFile(ready, 100), "127.0.0.1:1234\n");
    kill(child_, signal);
    const Ended ended = Wait();
    EXPECT_EQ(ended.code, 0);
    EXPECT_THAT(ended.errors, testing::HasSubstr(R"("message":"serving","address":"127.0.0.1:1234")"));
  }
}

TEST_F(ProcessTest, OutlivesItsTerminal) {
  Run([](Process& process) -> absl::Status {
    RETURN_IF_ERROR(process.Serving("127.0.0.1:1234"));
    process.WaitForStop();
    return absl::OkStatus();
  });
  EXPECT_EQ(ReadToEnd(notify_), "127.0.0.1:1234\n");
  kill(child_, SIGHUP);
  // What is sent next is what ends it.
  kill(child_, SIGTERM);
  const Ended ended = Wait();
  EXPECT_EQ(ended.code, 0);
  EXPECT_THAT(ended.errors, testing::HasSubstr("SIGTERM"));
}

TEST_F(ProcessTest, AnErrorIsOneSentenceAndANonZeroExit) {
  Run([](Process&) { return Error(absl::StatusCode::kNotFound, "X", "the file a is missing; make it"); });
  close(notify_);
  const Ended ended = Wait();
  EXPECT_EQ(ended.code, 1);
  EXPECT_EQ(ended.errors, "testd: the file a is missing; make it\n");
}

TEST_F(ProcessTest, LeavesNoCoreAndNoReadableFiles) {
  const std::string path = testing::TempDir() + "/made";
  Run([&path](Process&) -> absl::Status {
    rlimit core, files;
    getrlimit(RLIMIT_CORE, &core);
    getrlimit(RLIMIT_NOFILE, &files);
    FILE* const file = fopen(path.c_str(), "w");
    struct stat info;
    fstat(fileno(file), &info);
    fclose(file);
    int fds[2];
    if (pipe(fds) != 0) return absl::InternalError("pipe");
    close(fds[0]);
    const bool survives_a_broken_pipe = write(fds[1], "x", 1) < 0;
    const bool good = core.rlim_max == 0 && prctl(PR_GET_DUMPABLE) == 0 && files.rlim_cur == files.rlim_max &&
                      (info.st_mode & 0077) == 0 && survives_a_broken_pipe;
    return good ? absl::OkStatus() : absl::InternalError("not hardened");
  });
  close(notify_);
  const Ended ended = Wait();
  EXPECT_EQ(ended.code, 0) << ended.errors;
}

}  // namespace
}  // namespace parley::service
