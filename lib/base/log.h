// One JSON object a line on standard error: time, level, service, message, fields. Never give it a secret or an
// identity in full.
#ifndef PARLEY_LIB_BASE_LOG_H_
#define PARLEY_LIB_BASE_LOG_H_

#include <initializer_list>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace parley {

using LogFields = std::initializer_list<std::pair<absl::string_view, std::string>>;

// What stands as "service" in every line. Before the first thread.
void SetLogService(absl::string_view service);

void LogInfo(absl::string_view message, LogFields fields = {});
void LogWarning(absl::string_view message, LogFields fields = {});
void LogError(absl::string_view message, LogFields fields = {});

// A JSON string literal, quotes included; bytes that are not UTF-8 become U+FFFD.
std::string JsonString(absl::string_view text);

}  // namespace parley

#endif  // PARLEY_LIB_BASE_LOG_H_
