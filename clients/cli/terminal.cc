#include "clients/cli/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <qrencode.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "clients/cli/paths.h"
#include "lib/base/error.h"

namespace parley::cli {
namespace {

constexpr size_t kMaxTypedBytes = 4096;

bool Colourful() {
  static const bool colourful = StdoutIsTerminal() && Environment("NO_COLOR").empty() && Environment("TERM") != "dumb";
  return colourful;
}

std::string Coloured(absl::string_view code, absl::string_view text) {
  return Colourful() ? absl::StrCat("\x1b[", code, "m", text, "\x1b[0m") : std::string(text);
}

// Holds the terminal without echo, and gives it back as it was.
class QuietTerminal {
 public:
  explicit QuietTerminal(int fd) : fd_(fd), ok_(tcgetattr(fd, &before_) == 0) {
    termios quiet = before_;
    // Signals too are read as characters: a Ctrl-C that killed the process would leave the terminal without echo.
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON | ISIG);
    quiet.c_cc[VMIN] = 1;
    quiet.c_cc[VTIME] = 0;
    ok_ = ok_ && tcsetattr(fd, TCSAFLUSH, &quiet) == 0;
  }
  ~QuietTerminal() {
    if (ok_) tcsetattr(fd_, TCSAFLUSH, &before_);
  }
  QuietTerminal(const QuietTerminal&) = delete;
  QuietTerminal& operator=(const QuietTerminal&) = delete;

 private:
  const int fd_;
  termios before_ = {};
  bool ok_;
};

// A typed line, edited by backspace; false when it was given up.
bool ReadTyped(int fd, Secret* typed) {
  constexpr char kCtrlC = 3, kCtrlD = 4, kCtrlU = 21, kBackspace = 8, kDelete = 127;
  Secret buffer(kMaxTypedBytes);
  size_t size = 0;
  char c = 0;
  while (read(fd, &c, 1) == 1) {
    if (c == kCtrlC || c == kCtrlD) return false;
    if ((c == '\n' || c == '\r') && size > 0) {
      *typed = Secret::CopyOf(buffer.Expose().substr(0, size));
      return true;
    }
    if (c == kBackspace || c == kDelete) {
      if (size > 0) --size;
    } else if (c == kCtrlU) {
      size = 0;
    } else if (size < kMaxTypedBytes) {
      buffer.mutable_bytes()[size++] = static_cast<uint8_t>(c);
    }
  }
  return false;
}

int TerminalColumns() {
  winsize size = {};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

bool StdoutIsTerminal() { return isatty(STDOUT_FILENO) == 1; }
bool StdinIsTerminal() { return isatty(STDIN_FILENO) == 1; }

std::string Green(absl::string_view text) { return Coloured("32", text); }
std::string Red(absl::string_view text) { return Coloured("31", text); }
std::string Dim(absl::string_view text) { return Coloured("2", text); }

void PrintLine(absl::string_view line) {
  fwrite(line.data(), 1, line.size(), stdout);
  fputc('\n', stdout);
  fflush(stdout);
}

void RedrawLine(absl::string_view line) {
  fputs("\r\x1b[K", stdout);
  fwrite(line.data(), 1, line.size(), stdout);
  fflush(stdout);
}

std::string Printable(absl::string_view text) {
  std::string printable(text);
  for (char& c : printable) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7f) c = '?';
  }
  // The C1 controls, as UTF-8.
  for (size_t i = 0; i + 1 < printable.size(); ++i) {
    if (printable[i] == '\xc2' && static_cast<unsigned char>(printable[i + 1]) < 0xa0) {
      printable.replace(i, 2, "?");
    }
  }
  return printable;
}

absl::StatusOr<Secret> AskHidden(absl::string_view prompt) {
  const int fd = open("/dev/tty", O_RDWR | O_CLOEXEC);
  if (fd < 0) {
    return Error(absl::StatusCode::kFailedPrecondition, "NO_TERMINAL",
                 "there is no terminal to ask at; give the secret by standard input, a file or the environment");
  }
  Secret typed;
  bool given = false;
  {
    QuietTerminal quiet(fd);
    (void)!write(fd, prompt.data(), prompt.size());
    given = ReadTyped(fd, &typed);
    (void)!write(fd, "\n", 1);
  }
  close(fd);
  if (!given) return Error(absl::StatusCode::kCancelled, "CANCELLED", "given up at the prompt; nothing was done");
  return typed;
}

absl::StatusOr<Secret> ReadSecretLine(size_t max_bytes) {
  Secret line(max_bytes);
  size_t size = 0;
  char c = 0;
  while (true) {
    // A byte at a time: what follows the line is not this reader's.
    const ssize_t got = read(STDIN_FILENO, &c, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return absl::InternalError(absl::StrCat("cannot read standard input: ", ErrnoText(errno)));
    if (got == 0 || (c == '\n' && size > 0)) return Secret::CopyOf(line.Expose().substr(0, size));
    if (size == 0 && absl::ascii_isspace(static_cast<unsigned char>(c))) continue;
    if (size == max_bytes) break;
    line.mutable_bytes()[size++] = static_cast<uint8_t>(c);
  }
  return Error(
      absl::StatusCode::kResourceExhausted, "FILE_TOO_LARGE",
      absl::StrCat("standard input begins with a line of over ", max_bytes, " bytes; that is not what was asked for"));
}

std::string QrCode(const Secret& text) {
  // A join key means the same in upper case, which QR codes store in fewer dots.
  std::string ending_in_zero(text.Expose());
  const std::unique_ptr<QRcode, decltype(&QRcode_free)> code(
      QRcode_encodeString(ending_in_zero.c_str(), 0, QR_ECLEVEL_L, QR_MODE_8, /*casesensitive=*/0), &QRcode_free);
  WipeString(&ending_in_zero);
  constexpr int kQuietZone = 2;
  if (code == nullptr || code->width + 2 * kQuietZone > TerminalColumns()) return "";
  const auto dark = [&](int x, int y) {
    return x >= 0 && y >= 0 && x < code->width && y < code->width && (code->data[y * code->width + x] & 1) != 0;
  };
  std::string picture;
  for (int y = -kQuietZone; y < code->width + kQuietZone; y += 2) {
    absl::StrAppend(&picture, "\x1b[30;107m");
    for (int x = -kQuietZone; x < code->width + kQuietZone; ++x) {
      const bool upper = dark(x, y), lower = dark(x, y + 1);
      absl::StrAppend(&picture, upper ? (lower ? "█" : "▀") : (lower ? "▄" : " "));
    }
    absl::StrAppend(&picture, "\x1b[0m\n");
  }
  return picture;
}

}  // namespace parley::cli
