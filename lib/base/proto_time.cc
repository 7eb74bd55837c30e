#include "lib/base/proto_time.h"

namespace parley {
namespace {

constexpr int64_t kFirstSecond = -62135596800;  // Year 1.
constexpr int64_t kLastSecond = 253402300799;   // Year 9999.
constexpr int64_t kMaxDurationSeconds = 315576000000;

}  // namespace

absl::Time ToTime(const google::protobuf::Timestamp& timestamp) {
  if (timestamp.seconds() < kFirstSecond || timestamp.seconds() > kLastSecond || timestamp.nanos() < 0 ||
      timestamp.nanos() > 999'999'999) {
    return absl::InfinitePast();
  }
  return absl::FromUnixSeconds(timestamp.seconds()) + absl::Nanoseconds(timestamp.nanos());
}

google::protobuf::Timestamp ToProto(absl::Time time) {
  google::protobuf::Timestamp timestamp;
  const int64_t seconds = absl::ToUnixSeconds(time);
  timestamp.set_seconds(seconds);
  timestamp.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
  return timestamp;
}

absl::Duration ToDuration(const google::protobuf::Duration& duration) {
  if (duration.seconds() > kMaxDurationSeconds) return absl::InfiniteDuration();
  if (duration.seconds() < -kMaxDurationSeconds) return -absl::InfiniteDuration();
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

google::protobuf::Duration ToProto(absl::Duration duration) {
  google::protobuf::Duration result;
  const int64_t seconds = absl::IDivDuration(duration, absl::Seconds(1), &duration);
  result.set_seconds(seconds);
  result.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(duration)));
  return result;
}

std::string ShowTime(absl::Time time) { return absl::FormatTime("%Y-%m-%d %H:%M UTC", time, absl::UTCTimeZone()); }

}  // namespace parley
