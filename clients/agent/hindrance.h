// What keeps a client from an update: the set's own fault, or something that passes.
//
// A hindrance (a full disk, a clock that is wrong, a target that is in use, a chain of trust that cannot be fetched) is
// told to the server and looked at again until it has passed. What the signed set itself is to blame for is refused
// once. Only the reasons that are named in hindrance.cc are the set's fault; every other error is a hindrance.
#ifndef PARLEY_CLIENTS_AGENT_HINDRANCE_H_
#define PARLEY_CLIENTS_AGENT_HINDRANCE_H_

#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "clients/agent/faults.h"
#include "clients/agent/options.h"
#include "parley/task/v1/participation_service.pb.h"

namespace parley::agent {

enum class Blame {
  // Another try of the same set cannot come out otherwise.
  kSet,
  // It may be gone in a moment.
  kMoment,
  // A person must mend it on this machine.
  kPerson,
};
// Of an error met while an offer was looked at, or between its acceptance and the swap.
Blame BlameOf(const absl::Status& status);

// A reason of an error's as a code of the protocol's: "DISK_FULL" as "disk_full".
std::string ReasonCode(const absl::Status& status);
// At most 4096 bytes of UTF-8, the end of the text.
std::string Detail(absl::string_view text);

// The hindrance that is in force, and when to look whether it is gone. Not thread-safe.
class HindranceWatch {
 public:
  // `now` is as SteadyTime.
  explicit HindranceWatch(const Options& options, absl::Duration (*now)() = &SteadyTime);

  // Notes that `why` hinders now. The pause before the next look is longer each time, also when reasons take turns.
  // Returns true when that is news: no hindrance of this kind was noted a while ago.
  bool Begin(const absl::Status& why);
  // It seems to have passed. One that is back soon goes on as if it had stayed.
  void End();
  // It has passed: the client has got further.
  void Reset();

  bool active() const { return !why_.ok(); }
  const absl::Status& why() const { return why_; }
  // Time until the next look; infinite without a hindrance.
  absl::Duration left() const;
  // It is not time to look yet.
  bool waits() const { return active() && left() > absl::ZeroDuration(); }
  // A client that does not stay has waited long enough: for as long as it may, or in vain because a person must act.
  bool lasts_too_long() const;
  task::v1::Hindrance ToProto() const;

 private:
  const absl::Duration limit_;
  absl::Duration (*const now_)();
  Backoff backoff_;
  absl::Status why_;
  // When each kind was noted last, and when it all began and ended.
  std::map<std::string, absl::Duration> kinds_;
  absl::Duration begin_;
  absl::Duration end_ = -absl::InfiniteDuration();
  absl::Duration next_look_;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_HINDRANCE_H_
