// A line with a sign that turns while somebody else is busy. Where there is no terminal, the line is printed once.
//
// Threads: one thread; the spinner has one of its own.
#ifndef PARLEY_CLIENTS_CLI_SPINNER_H_
#define PARLEY_CLIENTS_CLI_SPINNER_H_

#include <string>
#include <thread>

#include "lib/base/mutex.h"

namespace parley::cli {

class Spinner {
 public:
  Spinner() = default;
  ~Spinner() { Stop(); }
  Spinner(const Spinner&) = delete;
  Spinner& operator=(const Spinner&) = delete;

  // Shows the line in place of the one before.
  void Start(const std::string& text);
  // Removes the line from the terminal.
  void Stop();

 private:
  void Turn(const std::string& text);

  std::thread thread_;
  Mutex mutex_;
  CondVar changed_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_SPINNER_H_
