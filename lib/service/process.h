// What every service's main does before and after it serves.
//
//   int main(int argc, char** argv) {
//     return service::RunService({.name = "keyd", .services = {"parley.key.v1.KeyService"}}, [&](service::Process&
//     process) {
//       … process.Prepare(&builder); start …
//       RETURN_IF_ERROR(process.Serving(door->listener().address()));
//       process.WaitForStop();
//       … drain …
//       return absl::OkStatus();
//     });
//   }
//
// Threads: one at a time, but what metrics() and health() return may be used from any thread.
#ifndef PARLEY_LIB_SERVICE_PROCESS_H_
#define PARLEY_LIB_SERVICE_PROCESS_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "lib/base/fd.h"
#include "lib/rpc/metrics.h"
#include "lib/store/open_store.h"

namespace grpc {
class ServerBuilder;
class Service;
}  // namespace grpc

namespace parley::transport {
class Listener;
}  // namespace parley::transport

namespace parley::service {

class Health;
class HealthPort;
class MetricsPort;

// How long calls may still run once a service is told to stop: well within the 30 seconds that Kubernetes gives.
inline constexpr absl::Duration kShutdownGrace = absl::Seconds(10);

struct ProcessOptions {
  // The name of the service: "taskd".
  std::string name;
  // Full names of the gRPC services, for health by service.
  std::vector<std::string> services;
  // The file that gets the address once the service is ready; empty for none.
  std::string ready_file;
  // The "host:port" of the plaintext ports for probes and for Prometheus; empty for none.
  std::string health_listen;
  std::string metrics_listen;
};

// The options that every service has.
struct ServiceOptions {
  ProcessOptions process;
  // The folder of the database.
  std::string data;
  // A store elsewhere; without a URL it is the database.
  store::StoreOptions store;
  // The "host:port" of the door.
  std::string listen;
  // The names for the server certificate.
  std::vector<std::string> names;
};

class Process {
 public:
  explicit Process(ProcessOptions options);
  ~Process();

  // Opens the ports that are asked for. RunService calls this. Returns the errors of HealthPort::Open and of
  // MetricsPort::Open.
  absl::Status Open();

  // Adds health and reflection behind the door. Must be called once, before the server is built.
  void Prepare(grpc::ServerBuilder* builder);
  rpc::Metrics* metrics() { return &metrics_; }
  Health* health() { return health_.get(); }
  // Counts what goes on at the door, as long as the returned value lives; the listener must outlive it.
  rpc::Metrics::Source CountDoor(const transport::Listener* listener);

  // Says that the service is ready at this address ("host:port" with the real port). Health is SERVING from now on.
  // Logs "serving" with the fields "address", "health" and "metrics", and tells the program that started the process,
  // so that nobody has to guess a time to wait: the address and a newline are written to the ready file, if there is
  // one, and to the descriptor that NOTIFY_FD names, which is then closed. Returns the errors of WriteFileAtomically.
  absl::Status Serving(absl::string_view address);

  // Returns a descriptor that can be read once the process is told to stop, for what blocks before WaitForStop. It must
  // not be read, and lives as long as the process.
  int stop_fd() const { return stop_fd_.get(); }
  // Blocks until SIGTERM or SIGINT. Health is NOT_SERVING before it returns.
  void WaitForStop();

 private:
  const ProcessOptions options_;
  const Fd stop_fd_;
  rpc::Metrics metrics_;
  const std::unique_ptr<Health> health_;
  // The health service behind the door.
  std::unique_ptr<grpc::Service> health_service_;
  std::unique_ptr<grpc::Service> reflection_service_;
  std::unique_ptr<HealthPort> health_port_;
  std::unique_ptr<MetricsPort> metrics_port_;
};

// Disables core dumps and ptrace by other users, sets umask 077, ignores SIGPIPE, SIGHUP, SIGUSR1 and SIGUSR2, blocks
// SIGTERM and SIGINT in all threads, raises the limit of open files to the hard one, makes gRPC's log part of the
// process's own, opens the ports for health and metrics, and runs `service`. Must be called once a process, before any
// thread starts. Returns main's result: 0 if `service` returned no error or STOPPED, which says that it was told to
// stop before it served; 1 after printing any other error as one sentence on standard error.
int RunService(const ProcessOptions& options, const std::function<absl::Status(Process&)>& service);

}  // namespace parley::service

#endif  // PARLEY_LIB_SERVICE_PROCESS_H_
