// Lines that a person types, while something else may happen meanwhile.
//
// Threads: one thread. Next and NextIsYes block.
#ifndef PARLEY_CLIENTS_CLI_ANSWERS_H_
#define PARLEY_CLIENTS_CLI_ANSWERS_H_

#include <functional>
#include <optional>
#include <string>

#include "absl/status/statusor.h"

namespace parley::cli {

class Answers {
 public:
  // `cancel_fd` is readable when the person wants to stop; -1 for never.
  explicit Answers(int cancel_fd) : cancel_fd_(cancel_fd) {}

  // Returns the next line of standard input, without white space around it. While `fd` is readable `handle` is called;
  // there is no value once that says that the question fell. Returns CANCELLED (CANCELLED) at the end of the input, or
  // when cancel_fd is readable.
  absl::StatusOr<std::optional<std::string>> Next(int fd, const std::function<bool()>& handle);
  // Reads the answer to a question without anything else to wait for. Returns whether it is "y" or "yes", or the errors
  // of Next.
  absl::StatusOr<bool> NextIsYes();

 private:
  std::optional<std::string> TakeLine();

  const int cancel_fd_;
  // What was read behind the last line that was returned.
  std::string read_;
};

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_ANSWERS_H_
