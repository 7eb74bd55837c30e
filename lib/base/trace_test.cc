#include "lib/base/trace.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "lib/base/log.h"

namespace parley {
namespace {

constexpr char kTraceId[] = "4bf92f3577b34da6a3ce929d0e0e4736";
constexpr char kHeader[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

TEST(TraceContext, ReadsAndWritesTheHeader) {
  const auto trace = TraceContext::FromHeader(kHeader);
  ASSERT_TRUE(trace.has_value());
  EXPECT_EQ(trace->TraceId(), kTraceId);
  EXPECT_EQ(trace->SpanId(), "00f067aa0ba902b7");
  EXPECT_TRUE(trace->sampled);
  EXPECT_EQ(trace->Header(), kHeader);
}

TEST(TraceContext, AChildIsAnotherSpanOfTheSameTrace) {
  const TraceContext child = TraceContext::FromHeader(kHeader)->Child();
  EXPECT_EQ(child.TraceId(), kTraceId);
  EXPECT_NE(child.SpanId(), "00f067aa0ba902b7");
  EXPECT_TRUE(child.sampled);
}

TEST(TraceContext, NewOnesDifferAndAreNotRecorded) {
  const TraceContext one = TraceContext::New(), other = TraceContext::New();
  EXPECT_NE(one.TraceId(), other.TraceId());
  EXPECT_FALSE(one.sampled);
  EXPECT_TRUE(TraceContext::FromHeader(one.Header()).has_value());
}

TEST(TraceContext, RefusesWhatTheSpecificationRefuses) {
  const std::string good = kHeader;
  const std::string rest = good.substr(2);
  for (const std::string& bad :
       {std::string(), std::string("00"), good + "-00", good + "x", "ff" + rest, "0x" + rest, good.substr(1),
        std::string("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"),
        std::string("00-00000000000000000000000000000000-00f067aa0ba902b7-01"),
        std::string("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"),
        std::string("00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        std::string("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g"),
        std::string("00-4bf92f3577b34da6 3ce929d0e0e4736-00f067aa0ba902b7-01"), "cc" + rest + "x"}) {
    EXPECT_FALSE(TraceContext::FromHeader(bad).has_value()) << bad;
  }
  EXPECT_TRUE(TraceContext::FromHeader("cc" + rest + "-what-the-future-brings").has_value());
}

TEST(Log, SaysWhichTraceALineBelongsTo) {
  testing::internal::CaptureStderr();
  {
    ScopedTrace outer(*TraceContext::FromHeader(kHeader));
    LogInfo("inside", {{"key", "value"}});
    {
      ScopedTrace inner(TraceContext::New());
      EXPECT_NE(CurrentTrace()->TraceId(), kTraceId);
    }
    EXPECT_EQ(CurrentTrace()->TraceId(), kTraceId);
  }
  LogInfo("outside");
  const std::string lines = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(absl::StrContains(lines, absl::StrCat(R"("message":"inside","trace_id":")", kTraceId,
                                                    R"(","span_id":"00f067aa0ba902b7","key":"value"})")))
      << lines;
  EXPECT_TRUE(absl::EndsWith(lines, "\"message\":\"outside\"}\n")) << lines;
  EXPECT_EQ(CurrentTrace(), nullptr);
}

}  // namespace
}  // namespace parley
