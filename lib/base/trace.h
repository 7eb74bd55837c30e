// Which request a thread works for, so that lines of several services' logs can be put together: W3C Trace Context.
//
//   ScopedTrace scope(TraceContext::FromHeader(header).value_or(TraceContext::New()).Child());
//   LogInfo("…");  // has the fields "trace_id" and "span_id"
//
// The ids name nothing but themselves: they are random, not secret, and prove nothing.
//
// Threads: what a ScopedTrace sets is its thread's own.
#ifndef PARLEY_LIB_BASE_TRACE_H_
#define PARLEY_LIB_BASE_TRACE_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace parley {

struct TraceContext {
  // A valid trace id is not all zero; neither is a valid span id.
  uint64_t trace_id_high = 0;
  uint64_t trace_id_low = 0;
  uint64_t span_id = 0;
  // Whether the program that began the trace wants it to be recorded.
  bool sampled = false;

  // Parses a traceparent header: version 00, or what a later version has in common with it. Returns no value if it is
  // malformed.
  static std::optional<TraceContext> FromHeader(absl::string_view traceparent);
  // Begins a trace that nobody asked to record.
  static TraceContext New();

  // Returns a new span of the same trace.
  TraceContext Child() const;
  // Returns "00-{trace id}-{span id}-{flags}".
  std::string Header() const;
  // Return 32 and 16 hex digits.
  std::string TraceId() const;
  std::string SpanId() const;
};

// Returns what this thread works for, or null outside of any ScopedTrace.
const TraceContext* CurrentTrace();

// Sets the thread's trace while it lives. A further one may be made within it.
class ScopedTrace {
 public:
  explicit ScopedTrace(const TraceContext& trace);
  ~ScopedTrace();
  ScopedTrace(const ScopedTrace&) = delete;
  ScopedTrace& operator=(const ScopedTrace&) = delete;

 private:
  const TraceContext trace_;
  const TraceContext* const before_;
};

}  // namespace parley

#endif  // PARLEY_LIB_BASE_TRACE_H_
