#include "lib/base/proto_time.h"

#include <gtest/gtest.h>

#include <limits>

namespace parley {
namespace {

google::protobuf::Timestamp Stamp(int64_t seconds, int32_t nanos = 0) {
  google::protobuf::Timestamp timestamp;
  timestamp.set_seconds(seconds);
  timestamp.set_nanos(nanos);
  return timestamp;
}

TEST(ProtoTime, GoesThereAndBack) {
  for (const absl::Time time : {absl::UnixEpoch(), absl::FromUnixNanos(1), absl::FromUnixNanos(-1),
                                absl::FromUnixNanos(1'795'909'114'123'456'789), absl::FromUnixSeconds(-62135596800),
                                absl::FromUnixSeconds(253402300799) + absl::Nanoseconds(999'999'999)}) {
    EXPECT_EQ(ToTime(ToProto(time)), time);
    EXPECT_GE(ToProto(time).nanos(), 0);
  }
  for (const absl::Duration duration : {absl::ZeroDuration(), absl::Milliseconds(1500), -absl::Milliseconds(1500)}) {
    EXPECT_EQ(ToDuration(ToProto(duration)), duration);
  }
}

TEST(ProtoTime, OutOfRangeIsLongOver) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max(), kLeast = std::numeric_limits<int64_t>::min();
  for (const auto& timestamp : {Stamp(kMost), Stamp(kLeast), Stamp(-62135596801), Stamp(253402300800), Stamp(0, -1),
                                Stamp(0, 1'000'000'000), Stamp(0, std::numeric_limits<int32_t>::max())}) {
    EXPECT_EQ(ToTime(timestamp), absl::InfinitePast()) << timestamp.ShortDebugString();
  }
  google::protobuf::Duration duration;
  duration.set_seconds(kMost);
  EXPECT_EQ(ToDuration(duration), absl::InfiniteDuration());
  duration.set_seconds(kLeast);
  EXPECT_EQ(ToDuration(duration), -absl::InfiniteDuration());
}

}  // namespace
}  // namespace parley
