// One RPC that was admitted or refused: it is counted, timed, and has the trace that it belongs to.
//
// The call ends with its last reference, with the status that End was given. It gets a line in the log at its end if
// its trace is sampled, or if it failed by our fault.
//
// Threads: End may be called once, from any thread; the rest does not change.
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
  // `metrics` may be null, or else must outlive this. The trace is the one of the caller's traceparent, or a new one.
  Call(Metrics* metrics, const grpc::ServerContextBase& context, absl::string_view method, absl::string_view type);
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // Sets the caller for the log: "operator/alice".
  void set_caller(std::string caller) { caller_ = std::move(caller); }
  // Says how the call ends. Without this it counts as cancelled.
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
