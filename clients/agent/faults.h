// Which errors of a server or of the way to it pass, and how long to wait for that.
#ifndef PARLEY_CLIENTS_AGENT_FAULTS_H_
#define PARLEY_CLIENTS_AGENT_FAULTS_H_

#include <random>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "clients/agent/agent.h"
#include "grpcpp/support/status.h"
#include "lib/transport/grpc_door.h"

namespace parley::agent {

// The error with its reason: the dialer's where the connection is the cause, the server's otherwise.
absl::Status Explain(const transport::Channel& channel, const grpc::Status& status);

enum class Fault {
  // Worth another connection.
  kPasses,
  // The server refuses the key, and does not say why: for good when it does so again and again.
  kKey,
  kFinal,
};
Fault FaultOf(const absl::Status& status);

// How often, and for how long, to try. Not thread-safe.
class Retry {
 public:
  explicit Retry(const Options& options) : options_(options), start_(Monotonic()) {}

  // OK and the time to wait before the next try; or the error, when trying again is of no use: a final fault, a key
  // refused thrice, a server that was not reached within connect_timeout from the start.
  absl::Status Next(const absl::Status& error, absl::Duration* wait);
  // The server has answered.
  void Reached();
  // Things went on, so that the next failure is the first.
  void Progress();

 private:
  static absl::Duration Monotonic();

  const Options& options_;
  const absl::Duration start_;
  bool reached_ = false;
  int refused_ = 0;
  int failures_ = 0;
  std::minstd_rand random_{std::random_device()()};
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_FAULTS_H_
