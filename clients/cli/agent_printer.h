// What `parley join`, `parley agent` and `parley settle` show while they work.
//
// Threads: a free function; any thread may call the observer.
#ifndef PARLEY_CLIENTS_CLI_AGENT_PRINTER_H_
#define PARLEY_CLIENTS_CLI_AGENT_PRINTER_H_

#include <memory>

#include "clients/agent/events.h"
#include "clients/cli/command.h"

namespace parley::cli {

// Prints in the background (agent_output.h) from now on, and returns an observer that prints each event: a line for
// each step, or with --output json an object. The lines name the task, unless there is only `one_task`: then there is a
// bar for the transfer on a terminal.
std::unique_ptr<agent::Observer> NewPrinter(const Globals& globals, bool one_task);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_AGENT_PRINTER_H_
