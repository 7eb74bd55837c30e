#include "clients/cli/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <qrencode.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "clients/cli/output_writer.h"
#include "clients/cli/paths.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "lib/base/utf8.h"

namespace parley::cli {
namespace {

constexpr size_t kMaxTypedBytes = 16384;
// A paste over a slow line has gaps, and nobody types an empty line and the next one this fast.
constexpr int kPasteGapMilliseconds = 120;
constexpr size_t kMaxDrainedBytes = 1 << 20;

bool Colourful() {
  static const bool colourful = StdoutIsTerminal() && Environment("NO_COLOR").empty() && Environment("TERM") != "dumb";
  return colourful;
}

std::string Coloured(absl::string_view code, absl::string_view text) {
  return Colourful() ? absl::StrCat("\x1b[", code, "m", text, "\x1b[0m") : std::string(text);
}

OutputWriter* background = nullptr;
// The errno of the first line that could not be written.
int output_error = 0;

// The terminal and its settings, which a signal that ends the process has to put back first.
int quiet_fd = -1;
termios settings_before = {};

void RestoreAndEnd(int number) {
  tcsetattr(quiet_fd, TCSANOW, &settings_before);
  signal(number, SIG_DFL);
  raise(number);
}

// Holds the terminal without echo, and gives it back as it was, also when a signal ends the process. One at a time.
class QuietTerminal {
 public:
  explicit QuietTerminal(int fd) {
    ok_ = tcgetattr(fd, &settings_before) == 0;
    quiet_fd = fd;
    struct sigaction action = {};
    action.sa_handler = &RestoreAndEnd;
    for (size_t i = 0; i < std::size(kEnding); ++i) {
      sigaction(kEnding[i], nullptr, &before_[i]);
      if (before_[i].sa_handler == SIG_DFL) sigaction(kEnding[i], &action, nullptr);
    }
    termios quiet = settings_before;
    // Signals too are read as characters: a Ctrl-C that killed the process would leave the terminal without echo.
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON | ISIG);
    quiet.c_cc[VMIN] = 1;
    quiet.c_cc[VTIME] = 0;
    ok_ = ok_ && tcsetattr(fd, TCSAFLUSH, &quiet) == 0;
  }
  ~QuietTerminal() {
    if (ok_) tcsetattr(quiet_fd, TCSAFLUSH, &settings_before);
    for (size_t i = 0; i < std::size(kEnding); ++i) sigaction(kEnding[i], &before_[i], nullptr);
  }
  QuietTerminal(const QuietTerminal&) = delete;
  QuietTerminal& operator=(const QuietTerminal&) = delete;

 private:
  static constexpr int kEnding[] = {SIGINT, SIGTERM, SIGHUP};
  struct sigaction before_[std::size(kEnding)] = {};
  bool ok_ = false;
};

void Show(int fd, absl::string_view text) { (void)!write(fd, text.data(), text.size()); }

// Whether something is typed within this time. What is pasted comes without such gaps.
bool ComesSoon(int fd) {
  pollfd wait = {fd, POLLIN, 0};
  return poll(&wait, 1, kPasteGapMilliseconds) == 1 && (wait.revents & POLLIN) != 0;
}

// Throws away what is still coming of a paste.
void Drain(int fd) {
  char piece[1024];
  for (size_t drained = 0; drained < kMaxDrainedBytes && ComesSoon(fd);) {
    const ssize_t got = read(fd, piece, sizeof(piece));
    if (got <= 0) return;
    drained += static_cast<size_t>(got);
  }
}

// What is typed, line by line, edited by backspace within the line.
class TypedLines {
 public:
  TypedLines(int fd, const WantsMore& wants_more) : fd_(fd), wants_more_(wants_more), buffer_(kMaxTypedBytes) {}

  // Returns false if the person gave up.
  bool Read(Secret* typed) {
    constexpr char kCtrlC = 3, kCtrlD = 4;
    char c = 0;
    bool ended = false;
    while (!ended && read(fd_, &c, 1) == 1) {
      if (c == kCtrlC || c == kCtrlD) return false;
      if (c == '\n' || c == '\r') {
        ended = EndLine();
      } else {
        Type(c);
      }
    }
    if (ended) *typed = SoFar();
    return ended;
  }

 private:
  Secret SoFar() const { return Secret::CopyOf(buffer_.Expose().substr(0, size_)); }

  void Type(char c) {
    constexpr char kCtrlU = 21, kBackspace = 8, kDelete = 127;
    if (c == kBackspace || c == kDelete) {
      if (size_ > line_) --size_;
    } else if (c == kCtrlU) {
      size_ = line_;
    } else if (size_ < kMaxTypedBytes) {
      buffer_.mutable_bytes()[size_++] = static_cast<uint8_t>(c);
    }
  }

  // Returns whether that was the last line.
  bool EndLine() {
    // Nothing at all is no answer. Later an empty line is one, unless it stands within what is being pasted.
    if (size_ == line_) return size_ > 0 && !ComesSoon(fd_);
    if (wants_more_ == nullptr || size_ == kMaxTypedBytes || !wants_more_(SoFar())) return true;
    Show(fd_, line_ == 0 ? "\n  … and the rest of it (an empty line gives up): " : ".");
    line_ = size_;
    return false;
  }

  const int fd_;
  const WantsMore& wants_more_;
  Secret buffer_;
  size_t size_ = 0;
  // Where the present line begins.
  size_t line_ = 0;
};

constexpr uint32_t kNoPoint = 0xffffffff;

// One character of UTF-8, or a byte that is none.
struct Character {
  absl::string_view bytes;
  uint32_t point = kNoPoint;
  size_t columns = 1;
};

template <size_t kCount>
bool IsWithin(uint32_t point, const uint32_t (&ranges)[kCount][2]) {
  return std::any_of(ranges, ranges + kCount,
                     [point](const auto& range) { return point >= range[0] && point <= range[1]; });
}

// The large blocks of what takes no column and of what takes two; good enough to keep a table straight.
size_t ColumnsOfPoint(uint32_t point) {
  constexpr uint32_t kNone[][2] = {
      {0x300, 0x36f}, {0x200b, 0x200f}, {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}, {0xfeff, 0xfeff}};
  constexpr uint32_t kTwo[][2] = {{0x1100, 0x115f},   {0x2e80, 0x303e},  {0x3041, 0xa4cf}, {0xac00, 0xd7a3},
                                  {0xf900, 0xfaff},   {0xfe30, 0xfe6f},  {0xff00, 0xff60}, {0xffe0, 0xffe6},
                                  {0x1f300, 0x1faff}, {0x20000, 0x3fffd}};
  if (IsWithin(point, kNone)) return 0;
  return IsWithin(point, kTwo) ? 2 : 1;
}

// One that cannot be seen, or that turns the direction of what is beside it: zero width, marks and embeddings of
// direction, separators of lines, the byte order mark, tags.
bool IsHidden(uint32_t point) {
  constexpr uint32_t kHidden[][2] = {{0xad, 0xad},     {0x61c, 0x61c},   {0x200b, 0x200f},  {0x2028, 0x202e},
                                     {0x2060, 0x206f}, {0xfeff, 0xfeff}, {0xe0000, 0xe007f}};
  return IsWithin(point, kHidden);
}

Character TakeCharacter(absl::string_view* text) {
  // What is no UTF-8 is taken a byte at a time, so that it swallows nothing.
  const CodePoint next = FirstCodePoint(*text).value_or(CodePoint{kNoPoint, 1});
  const Character character{text->substr(0, next.bytes), next.value, ColumnsOfPoint(next.value)};
  text->remove_prefix(next.bytes);
  return character;
}

}  // namespace

bool StdoutIsTerminal() { return isatty(STDOUT_FILENO) == 1; }
bool StdinIsTerminal() { return isatty(STDIN_FILENO) == 1; }

TerminalSize GetTerminalSize() {
  TerminalSize size;
  winsize window = {};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) != 0) return size;
  if (window.ws_row > 0) size.rows = window.ws_row;
  if (window.ws_col > 0) size.columns = window.ws_col;
  return size;
}

std::string Green(absl::string_view text) { return Coloured("32", text); }
std::string Red(absl::string_view text) { return Coloured("31", text); }
std::string Dim(absl::string_view text) { return Coloured("2", text); }

void SetBackgroundOutput(OutputWriter* writer) { background = writer; }

void PrintLine(absl::string_view line) {
  if (background != nullptr) return background->WriteLine(line);
  fwrite(line.data(), 1, line.size(), stdout);
  fputc('\n', stdout);
  if (fflush(stdout) != 0 && output_error == 0) output_error = errno;
}

int OutputError() { return output_error == EPIPE ? 0 : output_error; }

void PrintErrorLine(absl::string_view line) {
  if (background != nullptr) return background->WriteErrorLine(line);
  fwrite(line.data(), 1, line.size(), stderr);
  fputc('\n', stderr);
}

void RedrawLine(absl::string_view line) {
  if (background != nullptr) return background->Redraw(line);
  fputs("\r\x1b[K", stdout);
  fwrite(line.data(), 1, line.size(), stdout);
  fflush(stdout);
}

std::string Printable(absl::string_view text) {
  std::string printable;
  printable.reserve(text.size());
  while (!text.empty()) {
    const Character next = TakeCharacter(&text);
    const bool control = next.point < 0x20 || (next.point >= 0x7f && next.point < 0xa0);
    if (next.point == kNoPoint || (control && next.bytes != "\n" && next.bytes != "\t")) {
      printable.push_back('?');
    } else if (IsHidden(next.point)) {
      absl::StrAppendFormat(&printable, "\\u{%x}", next.point);
    } else {
      absl::StrAppend(&printable, next.bytes);
    }
  }
  return printable;
}

size_t ColumnsOf(absl::string_view text) {
  size_t columns = 0;
  while (!text.empty()) columns += TakeCharacter(&text).columns;
  return columns;
}

std::string FitColumns(absl::string_view text, size_t columns) {
  if (ColumnsOf(text) <= columns) return std::string(text);
  if (columns == 0) return "";
  std::string fitting;
  for (size_t left = columns - 1; !text.empty();) {
    const Character next = TakeCharacter(&text);
    if (next.columns > left) break;
    left -= next.columns;
    absl::StrAppend(&fitting, next.bytes);
  }
  return fitting + "…";
}

std::string PadColumns(absl::string_view text, size_t columns) {
  return absl::StrCat(text, std::string(columns - std::min(columns, ColumnsOf(text)), ' '));
}

std::string BarText(int64_t done, int64_t all, size_t cells) {
  const int64_t full = all <= 0 ? 0 : std::clamp<int64_t>(done, 0, all) * static_cast<int64_t>(cells) / all;
  std::string bar;
  for (size_t i = 0; i < cells; ++i) absl::StrAppend(&bar, static_cast<int64_t>(i) < full ? "█" : "░");
  return bar;
}

absl::StatusOr<Secret> AskHidden(absl::string_view prompt, absl::string_view no_terminal, const WantsMore& wants_more) {
  const Fd fd(open("/dev/tty", O_RDWR | O_CLOEXEC));
  if (!fd.ok()) return Error(absl::StatusCode::kFailedPrecondition, "NO_TERMINAL", no_terminal);
  Secret typed;
  bool given = false;
  {
    QuietTerminal quiet(fd.get());
    Show(fd.get(), prompt);
    given = TypedLines(fd.get(), wants_more).Read(&typed);
    Show(fd.get(), "\n");
    if (wants_more != nullptr) Drain(fd.get());
  }
  if (!given) return Error(absl::StatusCode::kCancelled, "CANCELLED", "given up at the prompt; nothing was done");
  return typed;
}

absl::StatusOr<Secret> AskTwice(absl::string_view prompt, absl::string_view no_terminal,
                                const std::function<absl::Status(const Secret&)>& check) {
  while (true) {
    ASSIGN_OR_RETURN(Secret secret, AskHidden(prompt, no_terminal));
    if (const absl::Status good = check ? check(secret) : absl::OkStatus(); !good.ok()) {
      PrintErrorLine(absl::StrCat("  ", good.message(), "."));
      continue;
    }
    ASSIGN_OR_RETURN(const Secret again, AskHidden("  The same once more: ", no_terminal));
    if (secret == again) return secret;
    PrintErrorLine("  The two differ; once more from the beginning.");
  }
}

absl::StatusOr<Secret> ReadSecretLines(size_t max_bytes, const WantsMore& wants_more) {
  Secret lines(max_bytes);
  size_t size = 0;
  const auto so_far = [&lines, &size] { return Secret::CopyOf(lines.Expose().substr(0, size)); };
  char c = 0;
  while (true) {
    // A byte at a time: what follows the last line is not this reader's.
    const ssize_t got = read(STDIN_FILENO, &c, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return absl::InternalError(absl::StrCat("cannot read standard input: ", ErrnoText(errno)));
    if (got == 0) return so_far();
    if (c == '\n' && size > 0) {
      if (wants_more == nullptr || !wants_more(so_far())) return so_far();
      continue;
    }
    if (size == 0 && absl::ascii_isspace(static_cast<unsigned char>(c))) continue;
    if (size == max_bytes) break;
    lines.mutable_bytes()[size++] = static_cast<uint8_t>(c);
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
  if (code == nullptr || code->width + 2 * kQuietZone > GetTerminalSize().columns) return "";
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
