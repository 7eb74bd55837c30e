// Signals as a file descriptor, for commands that wait for several things at once.
#ifndef PARLEY_CLIENTS_CLI_SIGNALS_H_
#define PARLEY_CLIENTS_CLI_SIGNALS_H_

#include <initializer_list>

namespace parley::cli {

// Blocks the signals in this thread and those it makes later, and makes them readable. Before the first thread.
class SignalFd {
 public:
  explicit SignalFd(std::initializer_list<int> signals);
  ~SignalFd();
  SignalFd(const SignalFd&) = delete;
  SignalFd& operator=(const SignalFd&) = delete;

  int fd() const { return fd_; }
  // The next signal that has come; 0 when none has.
  int ReadPending();

 private:
  int fd_;
};

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_SIGNALS_H_
