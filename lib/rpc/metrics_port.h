// A plaintext HTTP port with one page: GET /metrics.
//
// For a monitoring system in the same network; it shows counts and no names. Not for the internet: who reaches it may
// read it. Time and size of a request and the number of connections are bounded.
//
// Threads: one of its own.
#ifndef PARLEY_LIB_RPC_METRICS_PORT_H_
#define PARLEY_LIB_RPC_METRICS_PORT_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace parley::rpc {

class Metrics;

class MetricsPort {
 public:
  // `metrics` must outlive it. ADDRESS_INVALID, ADDRESS_IN_USE.
  static absl::StatusOr<std::unique_ptr<MetricsPort>> Open(const std::string& address, const Metrics* metrics);
  ~MetricsPort();

  // host:port, with the real port.
  const std::string& address() const;

 private:
  class Impl;
  explicit MetricsPort(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace parley::rpc

#endif  // PARLEY_LIB_RPC_METRICS_PORT_H_
