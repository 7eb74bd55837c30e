// The metrics of a process, as Prometheus reads them.
//
// Calls are counted under the names that every gRPC dashboard knows: grpc_server_started_total,
// grpc_server_handled_total, grpc_server_handling_seconds. Other metrics are asked for when somebody reads:
//
//   const Metrics::Source tasks = metrics->Add("parley_tasks", "Tasks that are not settled, by state.",
//                                              Metrics::Kind::kGauge, [&] { return CountTasks(); });
//
// No label ever holds what a caller chose: the number of series is bounded by the program.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_LIB_RPC_METRICS_H_
#define PARLEY_LIB_RPC_METRICS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/base/mutex.h"

namespace parley::rpc {

class Metrics {
 public:
  enum class Kind { kGauge, kCounter };
  struct Sample {
    std::map<std::string, std::string> labels;
    double value = 0;
  };
  using Read = std::function<std::vector<Sample>()>;
  // The metric is read as long as this lives; its end waits for a reading that is under way.
  using Source = std::shared_ptr<void>;

  // Begins with the metrics of the process itself: memory, processor time, descriptors, start.
  Metrics();

  // `read` runs on the reader's thread. Two sources may have one name if they have the same help and kind.
  Source Add(const std::string& name, const std::string& help, Kind kind, Read read);

  // Count that a call begins and ends. `type` is "unary", "client_stream", "server_stream" or "bidi_stream".
  void Started(absl::string_view method, absl::string_view type);
  void Handled(absl::string_view method, absl::string_view type, absl::StatusCode code, absl::Duration took);

  // Returns everything in Prometheus' text format.
  std::string Text() const;

 private:
  static constexpr int kCodes = 17;
  static constexpr size_t kBounds = 13;
  using Labels = std::map<std::string, std::string>;
  struct Metric {
    std::string name;
    std::string help;
    Kind kind;
    Read read;
  };
  struct MethodMetrics {
    Labels labels;
    int64_t started = 0;
    int64_t handled[kCodes] = {};
    // The last is of those that took longer than all bounds.
    int64_t buckets[kBounds + 1] = {};
    double seconds = 0;
  };

  MethodMetrics* Find(absl::string_view method, absl::string_view type) ABSL_EXCLUSIVE_LOCKS_REQUIRED(methods_mutex_);
  void AppendCalls(std::string* text) const;
  static void AppendHistogram(const MethodMetrics& method, std::string* text);

  mutable Mutex methods_mutex_;
  std::map<std::string, MethodMetrics, std::less<>> methods_ ABSL_GUARDED_BY(methods_mutex_);
  mutable Mutex metrics_mutex_;
  std::map<const Metric*, std::shared_ptr<const Metric>> metrics_ ABSL_GUARDED_BY(metrics_mutex_);
  // The metrics of the process itself.
  std::vector<Source> own_;
};

}  // namespace parley::rpc

#endif  // PARLEY_LIB_RPC_METRICS_H_
