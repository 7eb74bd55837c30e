// Counts a task's clients by where they stand in its current revision.
//
// Threads: pure functions.
#ifndef PARLEY_SERVICES_TASKD_DOMAIN_COUNTS_H_
#define PARLEY_SERVICES_TASKD_DOMAIN_COUNTS_H_

#include <cstdint>
#include <vector>

#include "parley/task/v1/task.pb.h"

namespace parley::taskd {

// What is counted of one client.
struct Counted {
  task::v1::Participant::State state = task::v1::Participant::STATE_UNSPECIFIED;
  // What task::Place says.
  task::v1::Participant::State place = task::v1::Participant::STATE_UNSPECIFIED;
  bool hindered = false;
  // The revision that the state speaks of.
  int64_t revision = 0;
  // The client's failure does not count against max_failures.
  bool borne = false;
  // The client's key was revoked.
  bool revoked = false;
};

// A task's clients as its roll-out sees them: those that can take part in the current revision.
struct RolloutTally {
  struct Wave {
    int clients = 0;
    int succeeded = 0;
    int failed = 0;
    // Failures that an operator bears.
    int borne = 0;
  };
  int candidates = 0;
  // How many of these the wave names, by themselves or by a label, and no wave before it.
  std::vector<int> named;
  // Those of open waves, by the first wave that they are in.
  std::vector<Wave> waves;
};

// The counts of a task's clients at one moment.
struct Tally {
  task::v1::Counts counts;
  // The number of failures that do not count against max_failures.
  int borne = 0;
  // Empty for a task without waves.
  RolloutTally rollout;
};

// Adds `sign` (1 or -1) for a client. A client that is at rest in an older revision than the task's, or has not begun
// to apply that one, waits for the current one.
void Count(const Counted& client, int64_t task_revision, int sign, Tally* tally);

// Returns whether the client can take part in the task's current revision, as far as is known.
bool IsCandidate(const Counted& client, int64_t task_revision);

// Returns the failures of a task that goes on: a client that is away or hindered has not failed.
int Failures(const task::v1::Counts& counts);
// Returns the failures of a task that has ended: a client that did not come back in time has failed.
int FailuresAtEnd(const task::v1::Counts& counts);
// Returns how many clients have settled: nothing more is to be expected of them while the task stays unchanged.
int Settled(const task::v1::Counts& counts);

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_DOMAIN_COUNTS_H_
