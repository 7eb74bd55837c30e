// What is logged while a person looks at a terminal.
#ifndef PARLEY_CLIENTS_CLI_LOG_TEXT_H_
#define PARLEY_CLIENTS_CLI_LOG_TEXT_H_

#include <string>

#include "lib/base/log_sink.h"

namespace parley::cli {

// One sentence: "parley: warning: could not note a rollback (path /x): cannot write /x: No space left on device". It is
// fit for a terminal.
std::string LogText(const LogRecord& record);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_LOG_TEXT_H_
