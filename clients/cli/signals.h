// Signals as a file descriptor, for commands that wait for several things at once.
//
// Threads: one thread.
#ifndef PARLEY_CLIENTS_CLI_SIGNALS_H_
#define PARLEY_CLIENTS_CLI_SIGNALS_H_

#include <initializer_list>

#include "lib/base/fd.h"

namespace parley::cli {

// Blocks the signals in this thread and in those that it makes later, and makes them readable. It must be made before
// the process has other threads.
class SignalFd {
 public:
  explicit SignalFd(std::initializer_list<int> signals);

  int fd() const { return fd_.get(); }
  // Returns the next signal that has come, or 0.
  int ReadPending();

 private:
  Fd fd_;
};

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_SIGNALS_H_
