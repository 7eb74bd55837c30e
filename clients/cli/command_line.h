// What CLI11 does not refuse by itself: options that a command would ignore, values that are empty or not text.
#ifndef PARLEY_CLIENTS_CLI_COMMAND_LINE_H_
#define PARLEY_CLIENTS_CLI_COMMAND_LINE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "clients/cli/command.h"

namespace parley::cli {

// ", did you mean `parley task create`?" where a command of that level is spelt almost like what was typed; else empty.
std::string Suggestion(const CLI::App& level, absl::string_view typed);

// A usage error for an argument that is not UTF-8: Parley's records and its JSON are, paths included.
absl::Status CheckArguments(int argc, char** argv);

// Lists in each command's help which global options it takes. Ends the process when a command has not said it: that is
// a mistake in this program. Called once, after all commands are there.
void DescribeUses(CLI::App* app, const Globals& globals);

// A usage error that names a global option which the command that was given does not use. Also good for a command line
// that does not parse.
absl::Status CheckUses(const CLI::App& app, const Globals& globals);

// After parsing: a usage error for an empty value, and for a --server that is no address.
absl::Status CheckValues(const CLI::App& app, const Globals& globals);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_COMMAND_LINE_H_
