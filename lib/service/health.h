// Says whether a process serves, by grpc.health.v1: as a whole ("") and for each of its services.
//
// The same state shows behind the door and on a port of its own in plaintext, which probes need and which has nothing
// else. The state is NOT_SERVING from the start until the service is ready, and again from the moment that the process
// is told to stop.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_LIB_SERVICE_HEALTH_H_
#define PARLEY_LIB_SERVICE_HEALTH_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace grpc {
class Server;
class Service;
}  // namespace grpc

namespace parley::service {

class Health {
 public:
  // `services` are full names, such as "parley.task.v1.TaskService".
  explicit Health(const std::vector<std::string>& services);
  ~Health();

  void SetServing();
  // Says whether `by`, such as "keyd" or "store", lets new callers be admitted. The service is SERVING only while
  // everything that has said so lets them.
  void SetAdmitting(const std::string& by, bool admitting);
  // Adds a part that the service needs and can do without for a while, such as "keyd", which is asked for by that name.
  // A part is SERVING until this says that it is not good.
  void SetPart(const std::string& part, bool good);
  // Makes everything NOT_SERVING for good. Watchers are told, and their streams end.
  void SetStopping();

  // Returns a service for one server. It must outlive the server, and this must outlive it.
  std::unique_ptr<grpc::Service> MakeService();

 private:
  friend class HealthService;
  class State;
  const std::shared_ptr<State> state_;
};

// A plaintext port with grpc.health.v1 and nothing else: neither the API nor reflection.
class HealthPort {
 public:
  // `health` must outlive the port. Returns ADDRESS_INVALID, or ADDRESS_IN_USE if another process listens there or
  // nobody may.
  static absl::StatusOr<std::unique_ptr<HealthPort>> Open(const std::string& address, Health* health);
  ~HealthPort();

  // Returns the bound address as "host:port"; with port 0, the port that the kernel chose.
  const std::string& address() const { return address_; }

 private:
  explicit HealthPort(Health* health);

  const std::unique_ptr<grpc::Service> service_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

}  // namespace parley::service

#endif  // PARLEY_LIB_SERVICE_HEALTH_H_
