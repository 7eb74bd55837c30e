#include "clients/cli/screen.h"

#include <stdio.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace parley::cli {
namespace {

constexpr char kEnter[] = "\x1b[?1049h\x1b[?25l\x1b[H\x1b[2J";
// Wiped first, for terminals that have one screen only.
constexpr char kLeave[] = "\x1b[H\x1b[2J\x1b[?25h\x1b[?1049l";

void Write(absl::string_view text) {
  fwrite(text.data(), 1, text.size(), stdout);
  fflush(stdout);
}

}  // namespace

void Screen::Enter() {
  if (entered_) return;
  entered_ = true;
  // A job in the background must not touch the terminal's settings.
  settings_changed_ = tcgetpgrp(STDOUT_FILENO) == getpgrp() && tcgetattr(STDOUT_FILENO, &settings_) == 0;
  if (settings_changed_) {
    termios quiet = settings_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON);
    tcsetattr(STDOUT_FILENO, TCSANOW, &quiet);
  }
  Write(kEnter);
}

void Screen::Leave() {
  if (!entered_) return;
  entered_ = false;
  Write(kLeave);
  // What was typed meanwhile was not meant for the shell.
  if (settings_changed_) tcsetattr(STDOUT_FILENO, TCSAFLUSH, &settings_);
}

void Screen::Draw(const std::vector<std::string>& lines) {
  std::string frame = "\x1b[H";
  for (size_t i = 0; i < lines.size(); ++i) absl::StrAppend(&frame, i == 0 ? "" : "\r\n", lines[i], "\x1b[K");
  Write(absl::StrCat(frame, "\x1b[J"));
}

}  // namespace parley::cli
