// Whether a process serves: grpc.health.v1, as a whole ("") and for each of its services.
//
// The same state shows behind the door and on a port of its own in plaintext, which probes need and which has nothing
// else. From the start it is NOT_SERVING; so it is again from the moment that the process is told to stop.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_LIB_RPC_HEALTH_H_
#define PARLEY_LIB_RPC_HEALTH_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace parley::rpc {

class Health {
 public:
  // `services`: full names, such as "parley.task.v1.TaskService".
  explicit Health(const std::vector<std::string>& services);
  ~Health();

  void SetServing();
  // Whether new callers are admitted: it serves only then.
  void SetAdmitting(bool admitting);
  // A part that the service needs and can do without for a while, such as "keyd": asked for by that name. SERVING until
  // it is said that it is not good.
  void SetPart(const std::string& part, bool good);
  // For good. Who watches is told, and its stream ends.
  void SetStopping();

  // To be registered with one server, which must end before it does; so must that before this.
  std::unique_ptr<grpc::Service> MakeService();

 private:
  friend class HealthService;
  class State;
  const std::shared_ptr<State> state_;
};

// A plaintext port with grpc.health.v1 and nothing else: neither the API nor reflection.
class HealthPort {
 public:
  // `health` must outlive it. ADDRESS_INVALID; ADDRESS_IN_USE when another process listens there, or nobody may.
  static absl::StatusOr<std::unique_ptr<HealthPort>> Open(const std::string& address, Health* health);
  ~HealthPort();

  // host:port, with the real port.
  const std::string& address() const;

 private:
  class Impl;
  explicit HealthPort(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace parley::rpc

#endif  // PARLEY_LIB_RPC_HEALTH_H_
