// What keeps a client from an update: the set's own fault, or something that passes.
//
// A hindrance (a full disk, a clock that is wrong, a target that is in use, a chain of trust that cannot be fetched) is
// declared to the server and checked again until it has passed. What the signed set itself is to blame for is refused
// once. Only the reasons that are named in hindrance.cc are the set's fault; every other error is a hindrance.
//
// Threads: the functions are pure; HindranceWatch is not thread-safe.
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
#include "lib/base/backoff.h"
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
// Returns who is to blame for an error met while an offer was checked, or between its acceptance and the swap.
Blame BlameOf(const absl::Status& status);

// Returns the reason of an error as a code of the protocol: "disk_full" for "DISK_FULL".
std::string ReasonCode(const absl::Status& status);
// Returns a state as such a code: "timed_out" for STATE_TIMED_OUT.
std::string StateCode(task::v1::Participant::State state);
// Returns the end of the text as UTF-8 of at most 4096 bytes.
std::string Detail(absl::string_view text);

// The hindrance that is in force, and when to check whether it is gone.
class HindranceWatch {
 public:
  // `now` stands for SteadyTime.
  explicit HindranceWatch(const Options& options, absl::Duration (*now)() = &SteadyTime);

  // Records that `why` hinders now. The pause before the next check is longer each time, also when reasons take turns.
  // Returns whether that is news: no hindrance of this kind was recorded a while ago.
  bool Begin(const absl::Status& why);
  // Ends the hindrance, which seems to have passed. One that is back soon goes on as if it had stayed.
  void End();
  // Forgets the hindrance: it has passed, since the client has got further.
  void Reset();

  bool active() const { return !why_.ok(); }
  const absl::Status& why() const { return why_; }
  // Returns the time until the next check; it is infinite without a hindrance.
  absl::Duration left() const;
  // Returns whether it is not time to check yet.
  bool waits() const { return active() && left() > absl::ZeroDuration(); }
  // Returns whether a client that does not stay has waited long enough: for as long as it may, or in vain because a
  // person must act.
  bool lasts_too_long() const;
  task::v1::Hindrance ToProto() const;

 private:
  const absl::Duration limit_;
  absl::Duration (*const now_)();
  Backoff backoff_;
  absl::Status why_;
  // When each kind was recorded last, and when it all began and ended.
  std::map<std::string, absl::Duration> kinds_;
  absl::Duration begin_;
  absl::Duration end_ = -absl::InfiniteDuration();
  absl::Duration next_check_;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_HINDRANCE_H_
