// Converts times and durations between Protobuf and Abseil.
//
// Threads: pure functions.
#ifndef PARLEY_LIB_BASE_PROTO_TIME_H_
#define PARLEY_LIB_BASE_PROTO_TIME_H_

#include <string>

#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"

namespace parley {

// Returns the infinite past for what a Timestamp may not hold: a time outside the years 1 to 9999, or nanoseconds
// outside 0 to 999,999,999 (google/protobuf/timestamp.proto). A peer that sends that gets the answer for a time that is
// long over.
absl::Time ToTime(const google::protobuf::Timestamp& timestamp);
google::protobuf::Timestamp ToProto(absl::Time time);

// Returns the longest duration, or the shortest, for what is outside the 10,000 years of
// google/protobuf/duration.proto.
absl::Duration ToDuration(const google::protobuf::Duration& duration);
google::protobuf::Duration ToProto(absl::Duration duration);

// Returns "2026-11-22 23:10 UTC", for sentences.
std::string ShowTime(absl::Time time);

}  // namespace parley

#endif  // PARLEY_LIB_BASE_PROTO_TIME_H_
