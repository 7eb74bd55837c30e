// What `parley join` and `parley agent` show while they work.
#ifndef PARLEY_CLIENTS_CLI_AGENT_PRINTER_H_
#define PARLEY_CLIENTS_CLI_AGENT_PRINTER_H_

#include <memory>

#include "clients/agent/events.h"

namespace parley::cli {

// A line for each step. Of one task: with a bar for the transfer on a terminal. Of several at once: each line names its
// task.
std::unique_ptr<agent::Observer> NewTextPrinter(bool one_task);
// One JSON object a line, each with "event".
std::unique_ptr<agent::Observer> NewJsonPrinter();

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_AGENT_PRINTER_H_
