// What a client remembers of one invitation between its attempts, so that an attacker gets no second try in silence.
//
// A hostile relay knows after the nonces whether its codes would match. If it could break off and start over unseen, a
// 20-bit code would fall to a million quiet tries. So each client counts for itself: an attempt number is used once,
// the person must acknowledge an end that is suspected(), and after three of them the invitation is locked. The
// enrolment service keeps the same count from what both sides report, for the audit log; nobody relies on that.
//
// Threads: one at a time. To keep it, store the three fields.
#ifndef PARLEY_LIB_SAS_ATTEMPTS_H_
#define PARLEY_LIB_SAS_ATTEMPTS_H_

#include <cstdint>

#include "absl/status/status.h"

namespace parley::sas {

struct Attempts {
  static constexpr uint32_t kMaxSuspected = 3;

  // The highest attempt begun; 0 before the first.
  uint32_t last = 0;
  // The number of attempts that ended in suspicion.
  uint32_t suspected = 0;
  // The person has not been told yet of the last one.
  bool unseen = false;

  // Must be called before Exchange::Begin. Returns FAILED_PRECONDITION: SAS_LOCKED after three suspected attempts,
  // SAS_UNSEEN while the person has not been told of the last one, SAS_ATTEMPT_REUSED unless `attempt` is higher than
  // any before.
  absl::Status Begin(uint32_t attempt);
  // Says that an attempt ended with Exchange::suspected().
  void Suspect();
  // Says that the person has read of it and wants another attempt.
  void Acknowledge() { unseen = false; }
  bool locked() const { return suspected >= kMaxSuspected; }
};

}  // namespace parley::sas

#endif  // PARLEY_LIB_SAS_ATTEMPTS_H_
