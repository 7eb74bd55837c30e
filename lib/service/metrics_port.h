// A plaintext HTTP port with one page: GET /metrics.
//
// It is for a monitoring system in the same network, and shows counts and no names. It is not for the internet: every
// peer that reaches it may read it. The time and the size of a request and the number of connections are bounded.
//
// Threads: all methods may be called from any thread. The port has one thread of its own.
#ifndef PARLEY_LIB_SERVICE_METRICS_PORT_H_
#define PARLEY_LIB_SERVICE_METRICS_PORT_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace parley::rpc {
class Metrics;
}  // namespace parley::rpc

namespace parley::service {

class MetricsPort {
 public:
  // `metrics` must outlive the port. Returns ADDRESS_INVALID or ADDRESS_IN_USE.
  static absl::StatusOr<std::unique_ptr<MetricsPort>> Open(const std::string& address, const rpc::Metrics* metrics);
  virtual ~MetricsPort() = default;

  // Returns the bound address as "host:port"; with port 0, the port that the kernel chose.
  const std::string& address() const { return address_; }

 protected:
  std::string address_;
};

}  // namespace parley::service

#endif  // PARLEY_LIB_SERVICE_METRICS_PORT_H_
