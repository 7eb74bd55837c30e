#include "clients/cli/answers.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"

namespace parley::cli {
namespace {

constexpr size_t kMaxLineBytes = 4096;

absl::Status Cancelled(absl::string_view why) { return Error(absl::StatusCode::kCancelled, "CANCELLED", why); }

}  // namespace

std::optional<std::string> Answers::TakeLine() {
  const size_t end = read_.find('\n');
  if (end == std::string::npos) return std::nullopt;
  std::string line(absl::StripAsciiWhitespace(absl::string_view(read_).substr(0, end)));
  read_.erase(0, end + 1);
  return line;
}

absl::StatusOr<std::optional<std::string>> Answers::Next(int fd, const std::function<bool()>& handle) {
  while (true) {
    pollfd fds[] = {{cancel_fd_, POLLIN, 0}, {fd, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    // What was typed already is an answer to this question, unless the question fell.
    const int ready = poll(fds, 3, read_.find('\n') == std::string::npos ? -1 : 0);
    if (ready < 0 && errno != EINTR) return absl::InternalError(absl::StrCat("cannot wait: ", ErrnoText(errno)));
    if (ready < 0) continue;
    if (fds[0].revents != 0) return Cancelled("stopped by the person here");
    if (fds[1].revents != 0 && !handle()) return std::optional<std::string>();
    if (std::optional<std::string> line = TakeLine(); line.has_value()) return line;
    if (fds[2].revents == 0) continue;
    char piece[256];
    const ssize_t got = read(STDIN_FILENO, piece, sizeof(piece));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return Cancelled("standard input ended before the question was answered");
    read_.append(piece, static_cast<size_t>(got));
    if (read_.size() > kMaxLineBytes) return Cancelled("an answer of over 4096 characters is none");
  }
}

absl::StatusOr<bool> Answers::NextIsYes() {
  ASSIGN_OR_RETURN(const std::optional<std::string> line, Next(-1, nullptr));
  return absl::EqualsIgnoreCase(*line, "y") || absl::EqualsIgnoreCase(*line, "yes");
}

}  // namespace parley::cli
