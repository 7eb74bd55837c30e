#include "lib/base/log.h"

#include <unistd.h>

#include <cstdint>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "lib/base/log_sink.h"
#include "lib/base/trace.h"
#include "lib/base/utf8.h"

namespace parley {
namespace {

std::string& Service() {
  static std::string* const service = new std::string("parley");
  return *service;
}

LogSink& Sink() {
  static LogSink* const sink = new LogSink();
  return *sink;
}

void Log(absl::string_view level, absl::string_view message, LogFields fields) {
  std::string line = absl::StrCat(
      "{\"time\":\"", absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(), absl::UTCTimeZone()), "\",\"level\":\"",
      level, "\",\"service\":", JsonString(Service()), ",\"message\":", JsonString(message));
  if (const TraceContext* const trace = CurrentTrace(); trace != nullptr) {
    absl::StrAppend(&line, ",\"trace_id\":\"", trace->TraceId(), "\",\"span_id\":\"", trace->SpanId(), "\"");
  }
  for (const auto& [key, value] : fields) absl::StrAppend(&line, ",", JsonString(key), ":", JsonString(value));
  absl::StrAppend(&line, "}\n");
  if (Sink() != nullptr) return Sink()({level, message, fields, line});
  // One write a line, so that lines of several threads do not mix. A log that cannot be written has no remedy here.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace

void SetLogSink(LogSink sink) { Sink() = std::move(sink); }
void SetLogService(absl::string_view service) { Service() = std::string(service); }

void LogInfo(absl::string_view message, LogFields fields) { Log("info", message, fields); }
void LogWarning(absl::string_view message, LogFields fields) { Log("warning", message, fields); }
void LogError(absl::string_view message, LogFields fields) { Log("error", message, fields); }

std::string JsonString(absl::string_view text) {
  std::string literal = "\"";
  while (!text.empty()) {
    const std::optional<CodePoint> point = FirstCodePoint(text);
    const char letter = text[0];
    if (!point.has_value()) {
      absl::StrAppend(&literal, "\\ufffd");
    } else if (letter == '"' || letter == '\\') {
      literal.push_back('\\');
      literal.push_back(letter);
    } else if (static_cast<uint8_t>(letter) < 0x20) {
      absl::StrAppendFormat(&literal, "\\u%04x", letter);
    } else {
      absl::StrAppend(&literal, text.substr(0, point->bytes));
    }
    text.remove_prefix(point.has_value() ? point->bytes : 1);
  }
  literal.push_back('"');
  return literal;
}

}  // namespace parley
