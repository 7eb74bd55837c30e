// Other programs of the machine, for tests.
#ifndef PARLEY_CLIENTS_AGENT_PROGRAM_TESTING_H_
#define PARLEY_CLIENTS_AGENT_PROGRAM_TESTING_H_

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

namespace parley::agent {

// A program that does something for as long as the object lives.
class Program {
 public:
  explicit Program(const std::function<void()>& begin) {
    int ready[2];
    if (pipe(ready) != 0) abort();
    process_ = fork();
    if (process_ == 0) {
      begin();
      if (write(ready[1], "r", 1) != 1) _exit(1);
      while (true) pause();
    }
    close(ready[1]);
    char byte;
    if (read(ready[0], &byte, 1) != 1) abort();
    close(ready[0]);
  }
  ~Program() {
    kill(process_, SIGKILL);
    waitpid(process_, nullptr, 0);
  }

 private:
  pid_t process_;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_PROGRAM_TESTING_H_
