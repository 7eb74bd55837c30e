// Logs one JSON object a line on standard error, with time, level, service, message and fields.
//
// A log line must never contain a secret, or an identity in full.
#ifndef PARLEY_LIB_BASE_LOG_H_
#define PARLEY_LIB_BASE_LOG_H_

#include <initializer_list>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace parley {

using LogFields = std::initializer_list<std::pair<absl::string_view, std::string>>;

// Sets the "service" of every line. Must be called before the first thread starts.
void SetLogService(absl::string_view service);

void LogInfo(absl::string_view message, LogFields fields = {});
void LogWarning(absl::string_view message, LogFields fields = {});
void LogError(absl::string_view message, LogFields fields = {});

// Returns a JSON string literal with its quotes. Bytes that are not UTF-8 become U+FFFD.
std::string JsonString(absl::string_view text);

}  // namespace parley

#endif  // PARLEY_LIB_BASE_LOG_H_
