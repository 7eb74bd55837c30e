// Signals as a file descriptor, for commands that wait for several things at once.
#ifndef PARLEY_CLIENTS_CLI_SIGNALS_H_
#define PARLEY_CLIENTS_CLI_SIGNALS_H_

#include <initializer_list>

#include "lib/base/fd.h"

namespace parley::cli {

// Blocks the signals in this thread and those it makes later, and makes them readable. Before the first thread.
class SignalFd {
 public:
  explicit SignalFd(std::initializer_list<int> signals);

  int fd() const { return fd_.get(); }
  // The next signal that has come; 0 when none has.
  int ReadPending();

 private:
  Fd fd_;
};

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_SIGNALS_H_
