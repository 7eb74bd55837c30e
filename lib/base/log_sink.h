// Sends log lines elsewhere than to standard error, for a command whose output must not make it wait.
//
// Threads: the sink is set once, before the first line is logged, and called on every thread that logs.
#ifndef PARLEY_LIB_BASE_LOG_SINK_H_
#define PARLEY_LIB_BASE_LOG_SINK_H_

#include <functional>

#include "absl/strings/string_view.h"
#include "lib/base/log.h"

namespace parley {

// A line of the log. Its texts live only while the sink is called.
struct LogRecord {
  // "info", "warning" or "error".
  absl::string_view level;
  absl::string_view message;
  LogFields fields;
  // The whole line as it would go to standard error, with the line break.
  absl::string_view line;
};

// A sink must not block and must not log.
using LogSink = std::function<void(const LogRecord& record)>;
void SetLogSink(LogSink sink);

}  // namespace parley

#endif  // PARLEY_LIB_BASE_LOG_SINK_H_
