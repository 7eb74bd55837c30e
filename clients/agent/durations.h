// Durations as protocol buffers have them.
#ifndef PARLEY_CLIENTS_AGENT_DURATIONS_H_
#define PARLEY_CLIENTS_AGENT_DURATIONS_H_

#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"

namespace parley::agent {

inline void SetDuration(absl::Duration from, google::protobuf::Duration* to) {
  to->set_seconds(absl::IDivDuration(from, absl::Seconds(1), &from));
  to->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(from)));
}

inline absl::Duration ToDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_DURATIONS_H_
