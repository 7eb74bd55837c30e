// What is remembered of one invitation between its attempts, so that an attacker gets no second try in silence.
//
// A hostile relay knows after the nonces whether its codes would match. Could it break off and start over unseen, a
// 20-bit code would fall to a million quiet tries. So each client counts for itself: an attempt number is used once,
// an end that is suspected() must be acknowledged by the person, and after three the invitation is locked. The
// enrolment service keeps the same count from what both sides report, for the audit log; nobody relies on that.
//
// Threads: as any value. To keep it, store the three fields.
#ifndef PARLEY_LIB_SAS_ATTEMPTS_H_
#define PARLEY_LIB_SAS_ATTEMPTS_H_

#include <cstdint>

#include "absl/status/status.h"

namespace parley::sas {

struct Attempts {
  static constexpr uint32_t kMaxSuspected = 3;

  // The highest attempt begun; 0 before the first.
  uint32_t last = 0;
  // Attempts that ended in suspicion.
  uint32_t suspected = 0;
  // The person has yet to be told of the last one.
  bool unseen = false;

  // Before Exchange::Begin. FAILED_PRECONDITION: SAS_LOCKED after three suspected; SAS_UNSEEN while the person has
  // not been told of the last one; SAS_ATTEMPT_REUSED unless `attempt` is higher than any before.
  absl::Status Begin(uint32_t attempt);
  // An attempt ended with Exchange::suspected().
  void Suspect();
  // The person read of it and wants another attempt.
  void Acknowledge() { unseen = false; }
  bool locked() const { return suspected >= kMaxSuspected; }
};

}  // namespace parley::sas

#endif  // PARLEY_LIB_SAS_ATTEMPTS_H_
