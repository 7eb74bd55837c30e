// Times on the wire, as the agent reads and writes them.
#ifndef PARLEY_CLIENTS_AGENT_PROTO_TIME_H_
#define PARLEY_CLIENTS_AGENT_PROTO_TIME_H_

#include "absl/time/time.h"
#include "google/protobuf/timestamp.pb.h"

namespace parley::agent {

inline absl::Time ToTime(const google::protobuf::Timestamp& timestamp) {
  return absl::FromUnixSeconds(timestamp.seconds()) + absl::Nanoseconds(timestamp.nanos());
}

// Whole seconds.
inline google::protobuf::Timestamp ToProto(absl::Time time) {
  google::protobuf::Timestamp timestamp;
  timestamp.set_seconds(absl::ToUnixSeconds(time));
  return timestamp;
}

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_PROTO_TIME_H_
