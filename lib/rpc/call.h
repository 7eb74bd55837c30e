// One RPC that was admitted or refused: counted, timed, and with the trace that it belongs to.
//
// Whoever holds the last reference ends it; what End was told counts then. A call whose trace is sampled gets a line in
// the log at its end, and so does one that failed by our fault.
//
// Threads: End once, from any thread; the rest does not change.
#ifndef PARLEY_LIB_RPC_CALL_H_
#define PARLEY_LIB_RPC_CALL_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/base/trace.h"

namespace grpc {
class ServerContextBase;
}  // namespace grpc

namespace parley::rpc {

class Metrics;

class Call {
 public:
  // `metrics` may be null, else must outlive this. The trace is that of the caller's traceparent, or a new one.
  Call(Metrics* metrics, const grpc::ServerContextBase& context, absl::string_view method, absl::string_view type);
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // For the log: "operator/alice".
  void set_caller(std::string caller) { caller_ = std::move(caller); }
  // How it ends. Without it: cancelled.
  void End(const absl::Status& status) { status_ = status; }

  const TraceContext& trace() const { return trace_; }

 private:
  Metrics* const metrics_;
  const std::string method_;
  const std::string type_;
  const TraceContext trace_;
  const absl::Time began_;
  std::string caller_;
  absl::Status status_;
};

}  // namespace parley::rpc

#endif  // PARLEY_LIB_RPC_CALL_H_
