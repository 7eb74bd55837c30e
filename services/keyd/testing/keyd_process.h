// Runs keyd as a process, for tests that kill it. Such a test has //services/keyd among its data.
#ifndef PARLEY_SERVICES_KEYD_TESTING_KEYD_PROCESS_H_
#define PARLEY_SERVICES_KEYD_TESTING_KEYD_PROCESS_H_

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "services/keyd/testing/keyd_testing.h"

namespace parley::keyd {

class KeydProcess {
 public:
  explicit KeydProcess(std::string data) : data_(std::move(data)) {}
  ~KeydProcess() { Kill(); }

  // Returns once it serves.
  void Start() {
    int ready[2];
    ASSERT_EQ(pipe(ready), 0);
    child_ = fork();
    if (child_ == 0) {
      setenv("NOTIFY_FD", absl::StrCat(ready[1]).c_str(), 1);
      close(STDERR_FILENO);
      execl("services/keyd/keyd", "keyd", "--data", data_.c_str(), "--listen", address_.c_str(), nullptr);
      _exit(127);
    }
    close(ready[1]);
    char line[64] = {};
    ssize_t size = 0;
    for (ssize_t count; (count = read(ready[0], line + size, sizeof(line) - size)) > 0;) size += count;
    close(ready[0]);
    ASSERT_GT(size, 1) << "keyd did not start";
    address_ = std::string(line, static_cast<size_t>(size) - 1);
  }
  void Kill() {
    if (child_ <= 0) return;
    kill(child_, SIGKILL);
    waitpid(std::exchange(child_, -1), nullptr, 0);
  }
  std::unique_ptr<KeyClient> Connect() const {
    return std::make_unique<KeyClient>(*keys::ReadCredentialFile(data_ + "/credentials/admin.credential"),
                                       Clock::System());
  }

 private:
  const std::string data_;
  std::string address_ = "127.0.0.1:0";
  pid_t child_ = -1;
};

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_TESTING_KEYD_PROCESS_H_
