// What `parley join` and `parley agent` show while they work.
#ifndef PARLEY_CLIENTS_CLI_AGENT_PRINTER_H_
#define PARLEY_CLIENTS_CLI_AGENT_PRINTER_H_

#include <memory>

#include "clients/agent/agent.h"

namespace parley::cli {

// A line for each step, with a bar for the transfer on a terminal.
std::unique_ptr<agent::Observer> NewTextPrinter();
// One JSON object a line, each with "event".
std::unique_ptr<agent::Observer> NewJsonPrinter();

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_AGENT_PRINTER_H_
