// Where log lines go in place of standard error: for a command whose output must not make it wait.
//
// Threads: set once, before the first line is logged; the sink is called on every thread that logs.
#ifndef PARLEY_LIB_BASE_LOG_SINK_H_
#define PARLEY_LIB_BASE_LOG_SINK_H_

#include <functional>

#include "absl/strings/string_view.h"

namespace parley {

// Gets each line with its line break. It must not block and must not log.
using LogSink = std::function<void(absl::string_view line)>;
void SetLogSink(LogSink sink);

}  // namespace parley

#endif  // PARLEY_LIB_BASE_LOG_SINK_H_
