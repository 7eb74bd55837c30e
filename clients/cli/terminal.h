// The person at the terminal: colours, a hidden prompt, QR codes. In a pipe none of it shows.
//
// Threads: free functions; SetBackgroundOutput before the first thread that prints.
#ifndef PARLEY_CLIENTS_CLI_TERMINAL_H_
#define PARLEY_CLIENTS_CLI_TERMINAL_H_

#include <cstddef>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/base/secret.h"

namespace parley::cli {

class OutputWriter;

bool StdoutIsTerminal();
bool StdinIsTerminal();

// As standard output's terminal says, or 24 by 80.
struct TerminalSize {
  int rows = 24;
  int columns = 80;
};
TerminalSize GetTerminalSize();

// Coloured on a terminal, unless NO_COLOR is set or TERM is dumb.
std::string Green(absl::string_view text);
std::string Red(absl::string_view text);
std::string Dim(absl::string_view text);

// From now on the functions below hand everything to this writer and never wait; it must outlive them. Null ends that.
void SetBackgroundOutput(OutputWriter* writer);

// One line to standard output at once, for readers of a pipe.
void PrintLine(absl::string_view line);
// The errno of the first line that standard output did not take; 0 when it took all, or its reader is gone.
int OutputError();
// One line to standard error.
void PrintErrorLine(absl::string_view line);
// In place of the line that the cursor is in; terminals only.
void RedrawLine(absl::string_view line);

// Text of others made fit for a terminal: control characters, escape sequences among them, and what is no UTF-8 become
// '?', characters that cannot be seen or turn the direction of text "\u{200b}".
std::string Printable(absl::string_view text);

// How many columns a text takes on a terminal, and what fits into so many of them, with an ellipsis for the rest. The
// text is as Printable() leaves it, and has no line breaks; colours are put around it afterwards.
size_t ColumnsOf(absl::string_view text);
std::string FitColumns(absl::string_view text, size_t columns);

// Whether what was typed so far is not all: then reading goes on behind the end of the line.
using WantsMore = std::function<bool(const Secret& so_far)>;

// Asks at the controlling terminal without showing what is typed. FAILED_PRECONDITION (NO_TERMINAL),
// CANCELLED for Ctrl-C and Ctrl-D.
absl::StatusOr<Secret> AskHidden(absl::string_view prompt);
// The same over several lines. An empty line ends it with what there is. What comes behind the end of a paste is thrown
// away, so that it does not reach the shell.
absl::StatusOr<Secret> AskHiddenLines(absl::string_view prompt, const WantsMore& wants_more);

// The first line of standard input that is not blank, and those behind it that are wanted; empty when there is none.
// Does not wait for the end, so that a program that pipes a secret in may go on holding the pipe. RESOURCE_EXHAUSTED
// (FILE_TOO_LARGE) over `max_bytes`.
absl::StatusOr<Secret> ReadSecretLine(size_t max_bytes);
absl::StatusOr<Secret> ReadSecretLines(size_t max_bytes, const WantsMore& wants_more);

// The text as a QR code in half blocks, dark on light whatever the terminal's colours; empty when it does not fit.
std::string QrCode(const Secret& text);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_TERMINAL_H_
