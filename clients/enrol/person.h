// The person at this side of an enrolment: what must be shown to them, and what only they can answer.
//
// Threads: all methods are called on the thread that runs the party.
#ifndef PARLEY_CLIENTS_ENROL_PERSON_H_
#define PARLEY_CLIENTS_ENROL_PERSON_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/secret.h"

namespace parley::enrol {

enum class Presence {
  // Nobody is there yet.
  kWaiting,
  // Both are there.
  kPresent,
  // The other side's connection broke; it has two minutes to come back.
  kAway,
};

// How one attempt ended.
struct AttemptEnd {
  uint32_t attempt = 0;
  absl::Status why;
  // It may have been an attack.
  bool suspected = false;
  // Nothing goes on before the person says so: the attempt is suspected, codes were shown, this device refused
  // something, or it is the same again and again. Otherwise the other side may come back by itself.
  bool person_decides = false;
  // The number of suspected attempts of this invitation, by this device's count. At 3 it is locked.
  uint32_t suspected_attempts = 0;
  // Another attempt can follow.
  bool may_go_on = false;
};

// While the person is asked, the other side may send something. When fd is readable, Handle takes what has come, and
// says whether the question still stands.
struct Meanwhile {
  int fd = -1;
  std::function<bool()> handle;
};

class Person {
 public:
  virtual ~Person() = default;

  virtual void OnPresence(Presence presence) = 0;
  // A stream broke. It is tried again until `give_up_at`.
  virtual void OnDisconnected(const absl::Status& why, absl::Time give_up_at) = 0;
  // Attempt `attempt` begins: keys are exchanged now.
  virtual void OnAttempt(uint32_t attempt) = 0;
  // The person must read this code of 4 letters to the other person.
  virtual void OnReadAloud(const Secret& code) = 0;
  // Returns which of the four codes the other person read; no value is "none of these". Any value will do if the
  // question became void. Errors end the attempt.
  virtual absl::StatusOr<std::optional<size_t>> Choose(const std::vector<Secret>& choices,
                                                       const Meanwhile& meanwhile) = 0;
  // Both codes were compared: the two devices are connected, and nobody is in between.
  virtual void OnConfirmed() = 0;
  // An attempt has ended, now or in an earlier run. Returns true to go on with another one, if it may. Errors end the
  // run.
  virtual absl::StatusOr<bool> OnAttemptEnded(const AttemptEnd& end) = 0;
};

}  // namespace parley::enrol

#endif  // PARLEY_CLIENTS_ENROL_PERSON_H_
