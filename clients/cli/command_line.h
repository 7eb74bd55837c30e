// What CLI11 does not refuse by itself (options that a command would ignore, values that are empty or not text), and
// what it refuses in words of its own.
//
// Threads: free functions, called before the process has other threads.
#ifndef PARLEY_CLIENTS_CLI_COMMAND_LINE_H_
#define PARLEY_CLIENTS_CLI_COMMAND_LINE_H_

#include <string>

#include "absl/status/status.h"
#include "clients/cli/command.h"

namespace parley::cli {

// Returns a usage error for an argument that is not UTF-8: Parley's records and its JSON are, paths included.
absl::Status CheckArguments(int argc, char** argv);

// Lists in each command's help which global options it takes. It is called once, after all commands are there.
void DescribeUses(CLI::App* app, const Globals& globals);

// Returns a usage error that names a global option which the command that was given does not use. It is also good for a
// command line that does not parse.
absl::Status CheckUses(const CLI::App& app, const Globals& globals);

// Returns a usage error for an empty value, or for a --server that is no address. It is called after parsing.
absl::Status CheckValues(const CLI::App& app, const Globals& globals);

// Returns what CLI11 says of a command line that does not parse as a usage error of one sentence with a way on.
absl::Status ParseError(const CLI::App& app, std::string what);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_COMMAND_LINE_H_
