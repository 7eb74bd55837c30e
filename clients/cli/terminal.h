// The person at the terminal: colours, a hidden prompt, QR codes. In a pipe none of it shows.
#ifndef PARLEY_CLIENTS_CLI_TERMINAL_H_
#define PARLEY_CLIENTS_CLI_TERMINAL_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/base/secret.h"

namespace parley::cli {

bool StdoutIsTerminal();
bool StdinIsTerminal();

// Coloured on a terminal, unless NO_COLOR is set or TERM is dumb.
std::string Green(absl::string_view text);
std::string Red(absl::string_view text);
std::string Dim(absl::string_view text);

// One line to standard output at once, for readers of a pipe.
void PrintLine(absl::string_view line);
// In place of the line that the cursor is in; terminals only.
void RedrawLine(absl::string_view line);

// Text of others made fit for a terminal: control characters, escape sequences among them, become '?'.
std::string Printable(absl::string_view text);

// Asks at the controlling terminal without showing what is typed. FAILED_PRECONDITION (NO_TERMINAL),
// CANCELLED for Ctrl-C and Ctrl-D.
absl::StatusOr<Secret> AskHidden(absl::string_view prompt);

// The first line of standard input that is not blank; empty when there is none. Does not wait for the end, so that who
// pipes a secret in may go on holding the pipe. RESOURCE_EXHAUSTED (FILE_TOO_LARGE) over `max_bytes`.
absl::StatusOr<Secret> ReadSecretLine(size_t max_bytes);

// The text as a QR code in half blocks, dark on light whatever the terminal's colours; empty when it does not fit.
std::string QrCode(const Secret& text);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_TERMINAL_H_
