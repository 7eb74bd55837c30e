// The person at the terminal: colours, a hidden prompt, QR codes. In a pipe none of it shows.
//
// Threads: any thread may print. SetBackgroundOutput comes before the first other thread that prints; only one thread
// asks or reads.
#ifndef PARLEY_CLIENTS_CLI_TERMINAL_H_
#define PARLEY_CLIENTS_CLI_TERMINAL_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "lib/base/secret.h"

namespace parley::cli {

class OutputWriter;

bool StdoutIsTerminal();
bool StdinIsTerminal();

// The size of standard output's terminal, or 24 by 80.
struct TerminalSize {
  int rows = 24;
  int columns = 80;
};
TerminalSize GetTerminalSize();

// Return the text in a colour on a terminal, unless NO_COLOR is set or TERM is dumb.
std::string Green(absl::string_view text);
std::string Red(absl::string_view text);
std::string Dim(absl::string_view text);

// From now on, the functions below hand everything to this writer and never wait. The writer must live until a call
// with null.
void SetBackgroundOutput(OutputWriter* writer);

// Prints a line to standard output at once, for readers of a pipe.
void PrintLine(absl::string_view line);
// Joins the parts as absl::StrCat does, and prints them.
template <typename... Parts>
requires(sizeof...(Parts) > 1) void PrintLine(const Parts&... parts) { PrintLine(absl::StrCat(parts...)); }
// Returns the errno of the first line that standard output did not take, or 0 if it took all or its reader is gone.
int OutputError();
// Prints a line to standard error.
void PrintErrorLine(absl::string_view line);
// Puts a text in place of the line that the cursor is in, on a terminal.
void RedrawLine(absl::string_view line);

// Makes text of others fit for a terminal: control characters, escape sequences among them, and what is no UTF-8 become
// '?'; characters that cannot be seen, or that turn the direction of text, become "\u{200b}".
std::string Printable(absl::string_view text);

// Returns how many columns a text takes on a terminal. The text is as Printable() leaves it, and has no line breaks or
// colours, here and below.
size_t ColumnsOf(absl::string_view text);
// Returns what fits into so many columns, with an ellipsis for the rest.
std::string FitColumns(absl::string_view text, size_t columns);
// Returns the text with as many spaces behind it as fill these columns.
std::string PadColumns(absl::string_view text, size_t columns);
// Returns a bar of so many cells, of which done / all are full; none are if there is nothing to do.
std::string BarText(int64_t done, int64_t all, size_t cells);

// Returns whether what was typed so far is not all, so that reading goes on behind the end of the line.
using WantsMore = std::function<bool(const Secret& so_far)>;

// Asks at the controlling terminal without showing what is typed. Returns FAILED_PRECONDITION (NO_TERMINAL) with the
// sentence `no_terminal`, or CANCELLED (CANCELLED) after Ctrl-C or Ctrl-D.
//
// With `wants_more` it reads several lines. An empty one ends them with what there is; what comes behind the end of a
// paste is thrown away, so that it does not reach the shell.
absl::StatusOr<Secret> AskHidden(absl::string_view prompt, absl::string_view no_terminal,
                                 const WantsMore& wants_more = nullptr);
// Asks for a new secret until one that `check`, if any, finds good was typed twice. Returns the errors of AskHidden.
absl::StatusOr<Secret> AskTwice(absl::string_view prompt, absl::string_view no_terminal,
                                const std::function<absl::Status(const Secret&)>& check = nullptr);

// Returns the first line of standard input that is not blank, and those behind it that are wanted; empty if there is
// none. Does not wait for the end, so that a program that pipes a secret in may go on holding the pipe. Returns
// RESOURCE_EXHAUSTED (FILE_TOO_LARGE) over `max_bytes`, or INTERNAL if standard input cannot be read.
absl::StatusOr<Secret> ReadSecretLines(size_t max_bytes, const WantsMore& wants_more = nullptr);

// Returns the text as a QR code in half blocks, dark on light whatever the terminal's colours; empty if it does not
// fit.
std::string QrCode(const Secret& text);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_TERMINAL_H_
