#include "lib/base/log.h"

#include <unistd.h>

#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "lib/base/log_sink.h"
#include "lib/base/trace.h"

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

// Length of the UTF-8 sequence at the start of `text` (RFC 3629); 0 when it is not one.
size_t SequenceLength(absl::string_view text) {
  const auto byte = [&text](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  if ((lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xED && byte(1) > 0x9F) || (lead == 0xF0 && byte(1) < 0x90) ||
      (lead == 0xF4 && byte(1) > 0x8F)) {
    return 0;
  }
  return length;
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
    const size_t length = SequenceLength(text);
    const char letter = text[0];
    if (length == 0) {
      absl::StrAppend(&literal, "\\ufffd");
    } else if (letter == '"' || letter == '\\') {
      literal.push_back('\\');
      literal.push_back(letter);
    } else if (static_cast<uint8_t>(letter) < 0x20) {
      absl::StrAppendFormat(&literal, "\\u%04x", letter);
    } else {
      absl::StrAppend(&literal, text.substr(0, length));
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  literal.push_back('"');
  return literal;
}

}  // namespace parley
