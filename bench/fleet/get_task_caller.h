// Operators that call GetTask on a schedule, over a few connections of their own.
//
// A call begins at its time whether or not the ones before it have ended, and its latency counts from that time. So the
// latencies are what a call meets with that comes at any moment: a server that answers nothing for a while is slow to
// all the calls that were due meanwhile, and a call does not wait for an earlier one.
#ifndef PARLEY_BENCH_FLEET_GET_TASK_CALLER_H_
#define PARLEY_BENCH_FLEET_GET_TASK_CALLER_H_

#include <cstddef>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/base/mutex.h"
#include "lib/transport/channel.h"

namespace parley::bench {

class GetTaskCaller {
 public:
  using Channels = std::vector<std::unique_ptr<transport::Channel>>;

  // Begins to call, and goes on until it is destroyed. The channels take turns.
  GetTaskCaller(Channels channels, std::string task);
  // Waits for the calls that have begun.
  ~GetTaskCaller();

  // Returns the milliseconds, sorted, of the calls that were due between two moments, once these have ended; or the
  // error of a call that has failed.
  absl::StatusOr<std::vector<double>> Latencies(double from, double to);

 private:
  struct Call;

  void Run();
  void Begin(double due);
  void OnEnded(size_t number, absl::Status status);

  const Channels channels_;
  const std::string task_;
  Mutex mutex_;
  CondVar changed_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  size_t running_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<double> due_ ABSL_GUARDED_BY(mutex_);
  // The latency of each call, which is negative while the call runs.
  std::vector<double> milliseconds_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_FLEET_GET_TASK_CALLER_H_
