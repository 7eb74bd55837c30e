// What is logged, for a person who looks at a terminal.
//
// Threads: a pure function.
#ifndef PARLEY_CLIENTS_CLI_LOG_TEXT_H_
#define PARLEY_CLIENTS_CLI_LOG_TEXT_H_

#include <string>

#include "lib/base/log_sink.h"

namespace parley::cli {

// Returns one sentence, fit for a terminal: "parley: warning: could not note a rollback (path /x): cannot write /x: No
// space left on device".
std::string LogText(const LogRecord& record);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_LOG_TEXT_H_
