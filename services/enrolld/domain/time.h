// Protobuf's times and Abseil's.
#ifndef PARLEY_SERVICES_ENROLLD_DOMAIN_TIME_H_
#define PARLEY_SERVICES_ENROLLD_DOMAIN_TIME_H_

#include <string>

#include "absl/time/time.h"
#include "google/protobuf/timestamp.pb.h"

namespace parley::enrolld {

// Only of times that enrolld wrote itself.
inline absl::Time ToTime(const google::protobuf::Timestamp& timestamp) {
  return absl::FromUnixSeconds(timestamp.seconds()) + absl::Nanoseconds(timestamp.nanos());
}

inline google::protobuf::Timestamp ToProto(absl::Time time) {
  google::protobuf::Timestamp timestamp;
  const int64_t seconds = absl::ToUnixSeconds(time);
  timestamp.set_seconds(seconds);
  timestamp.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
  return timestamp;
}

// "2026-11-22 23:10 UTC", for sentences.
inline std::string ShowTime(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M UTC", time, absl::UTCTimeZone());
}

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_DOMAIN_TIME_H_
