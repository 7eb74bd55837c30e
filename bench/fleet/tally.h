// When each client of a fleet has met with what all of them wait for.
#ifndef PARLEY_BENCH_FLEET_TALLY_H_
#define PARLEY_BENCH_FLEET_TALLY_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/mutex.h"

namespace parley::bench {

// Returns the seconds of the clock that all processes of the machine share and nobody can set.
double Moment();

// Returns the value below which this part of the sorted values lies; 0 when there are none.
double Quantile(const std::vector<double>& sorted, double part);

// Threads: all methods may be called from any thread.
class Tally {
 public:
  // Forgets what was noted, and expects clients 0 … count - 1.
  void Expect(int count);
  // Notes that it has happened to the client now. Only the first time since Expect counts.
  void Note(int client);
  // Waits until it has happened to all. Returns the moments in their order, or DEADLINE_EXCEEDED with how many are
  // missing of what `what` names.
  absl::StatusOr<std::vector<double>> Wait(absl::Duration limit, const std::string& what);

 private:
  Mutex mutex_;
  CondVar complete_;
  int missing_ ABSL_GUARDED_BY(mutex_) = 0;
  // The moment for each client, which is 0 until it has happened.
  std::vector<double> moments_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_FLEET_TALLY_H_
