// Protobuf's times and Abseil's.
#ifndef PARLEY_SERVICES_TASKD_DOMAIN_TIME_H_
#define PARLEY_SERVICES_TASKD_DOMAIN_TIME_H_

#include <string>

#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"

namespace parley::taskd {

// Out of the range that Timestamp allows (years 1 to 9999): the infinite past, which every check refuses.
absl::Time ToTime(const google::protobuf::Timestamp& timestamp);
google::protobuf::Timestamp ToProto(absl::Time time);

// Out of range: the longest or shortest duration.
absl::Duration ToDuration(const google::protobuf::Duration& duration);
google::protobuf::Duration ToProto(absl::Duration duration);

// "2026-11-22 23:10 UTC", for sentences.
std::string ShowTime(absl::Time time);

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_DOMAIN_TIME_H_
