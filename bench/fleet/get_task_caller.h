// An operator that calls GetTask on a schedule, over a connection of its own, one call at a time.
//
// A call that is due while the one before it still runs begins when that has ended, and its latency counts from the
// moment at which it was due. So a server that answers nothing for a while is seen as slow by all the calls that were
// due meanwhile, and not by one of them alone.
#ifndef PARLEY_BENCH_FLEET_GET_TASK_CALLER_H_
#define PARLEY_BENCH_FLEET_GET_TASK_CALLER_H_

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/base/mutex.h"
#include "lib/transport/grpc_door.h"

namespace parley::bench {

class GetTaskCaller {
 public:
  // Calls until it is destroyed.
  GetTaskCaller(std::unique_ptr<transport::Channel> channel, std::string task);
  ~GetTaskCaller();

  // Milliseconds, sorted, of the calls that were due between two moments. Waits until these have ended. Returns the
  // error of the first call that has failed.
  absl::StatusOr<std::vector<double>> Latencies(double from, double to);

 private:
  struct Call {
    double due;
    double milliseconds;
  };
  void Run();

  const std::unique_ptr<transport::Channel> channel_;
  const std::string task_;
  Mutex mutex_;
  CondVar changed_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  std::vector<Call> calls_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_FLEET_GET_TASK_CALLER_H_
