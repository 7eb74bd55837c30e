#include "lib/base/trace.h"

#include <sys/random.h>

#include <random>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace parley {
namespace {

// Version, trace id, span id and flags with dashes between them.
constexpr size_t kHeaderSize = 2 + 1 + 32 + 1 + 16 + 1 + 2;

thread_local const TraceContext* current = nullptr;

uint64_t Random() {
  thread_local std::mt19937_64 generator = [] {
    uint64_t seed[4] = {};
    // Ids that are alike confuse a reader of logs and harm nobody: no reason to fail.
    [[maybe_unused]] const ssize_t got = getrandom(seed, sizeof(seed), 0);
    std::seed_seq sequence{static_cast<uint32_t>(seed[0]), static_cast<uint32_t>(seed[0] >> 32),
                           static_cast<uint32_t>(seed[1]), static_cast<uint32_t>(seed[1] >> 32),
                           static_cast<uint32_t>(seed[2]), static_cast<uint32_t>(seed[3])};
    return std::mt19937_64(sequence);
  }();
  uint64_t number = 0;
  while (number == 0) number = generator();
  return number;
}

// Lower case only, as the specification demands.
bool ParseHex(absl::string_view text, uint64_t* number) {
  for (const char letter : text) {
    if (!absl::ascii_isdigit(letter) && (letter < 'a' || letter > 'f')) return false;
  }
  return absl::SimpleHexAtoi(text, number);
}

}  // namespace

std::optional<TraceContext> TraceContext::FromHeader(absl::string_view traceparent) {
  if (traceparent.size() < kHeaderSize) return std::nullopt;
  uint64_t version = 0, flags = 0;
  TraceContext trace;
  const bool good = ParseHex(traceparent.substr(0, 2), &version) &&
                    ParseHex(traceparent.substr(3, 16), &trace.trace_id_high) &&
                    ParseHex(traceparent.substr(19, 16), &trace.trace_id_low) &&
                    ParseHex(traceparent.substr(36, 16), &trace.span_id) && ParseHex(traceparent.substr(53, 2), &flags);
  if (!good || version == 0xff || traceparent[2] != '-' || traceparent[35] != '-' || traceparent[52] != '-') {
    return std::nullopt;
  }
  // Later versions may say more, after another dash.
  const bool longer = traceparent.size() > kHeaderSize;
  if (longer && (version == 0 || traceparent[kHeaderSize] != '-')) return std::nullopt;
  if ((trace.trace_id_high == 0 && trace.trace_id_low == 0) || trace.span_id == 0) return std::nullopt;
  trace.sampled = (flags & 1) != 0;
  return trace;
}

TraceContext TraceContext::New() { return {Random(), Random(), Random(), false}; }

TraceContext TraceContext::Child() const { return {trace_id_high, trace_id_low, Random(), sampled}; }

std::string TraceContext::Header() const {
  return absl::StrCat("00-", TraceId(), "-", SpanId(), sampled ? "-01" : "-00");
}

std::string TraceContext::TraceId() const {
  return absl::StrCat(absl::Hex(trace_id_high, absl::kZeroPad16), absl::Hex(trace_id_low, absl::kZeroPad16));
}

std::string TraceContext::SpanId() const { return absl::StrCat(absl::Hex(span_id, absl::kZeroPad16)); }

const TraceContext* CurrentTrace() { return current; }

ScopedTrace::ScopedTrace(const TraceContext& trace) : trace_(trace), before_(current) { current = &trace_; }
ScopedTrace::~ScopedTrace() { current = before_; }

}  // namespace parley
