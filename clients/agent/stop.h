// A request to end Join or RunDevice, made by another thread or by a signal handler.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_CLIENTS_AGENT_STOP_H_
#define PARLEY_CLIENTS_AGENT_STOP_H_

#include "lib/base/fd.h"

namespace parley::agent {

class Stop {
 public:
  Stop();
  // Asks for the end. It is async-signal-safe, and once is enough.
  void Request();
  bool requested() const;
  // Returns a descriptor for poll, which is readable from the request on.
  int fd() const { return fd_.get(); }

 private:
  const Fd fd_;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_STOP_H_
