// Lines that a person types, while something else may happen meanwhile.
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

  // The next line of standard input, without white space around it. While `fd` is readable `handle` is called; no value
  // once that says that the question fell. CANCELLED (CANCELLED) at the end of the input and on cancel_fd.
  absl::StatusOr<std::optional<std::string>> Next(int fd, const std::function<bool()>& handle);
  // The same without anything else to wait for.
  absl::StatusOr<std::string> Next();

 private:
  std::optional<std::string> TakeLine();

  const int cancel_fd_;
  // What was read behind the last line.
  std::string read_;
};

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_ANSWERS_H_
