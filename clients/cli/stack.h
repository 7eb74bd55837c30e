// The services of one machine, run together: what `parley up` does.
//
//   ASSIGN_OR_RETURN(auto stack, Stack::Start(options));
//   … use stack->taskd_address() …
//   return stack->WaitForStop(on_ended);
#ifndef PARLEY_CLIENTS_CLI_STACK_H_
#define PARLEY_CLIENTS_CLI_STACK_H_

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "clients/cli/service_process.h"
#include "clients/cli/signals.h"
#include "lib/base/fd.h"

namespace parley::cli {

// Held while a stack runs on a data folder; holds the process's id.
class DataLock {
 public:
  // ALREADY_EXISTS (UP_RUNNING) names the folder and the process that holds it.
  static absl::StatusOr<DataLock> Take(const std::string& data);
  // The process that holds the lock on a folder; 0 when nobody does.
  static pid_t Holder(const std::string& data);
  // Until nobody holds it.
  static void WaitUntilFree(const std::string& data);

 private:
  explicit DataLock(Fd file) : file_(std::move(file)) {}
  Fd file_;
};

class Stack {
 public:
  struct Options {
    std::string data;
    // host:port; port 0 takes a free one.
    std::string taskd_listen;
    std::string keyd_listen;
    std::string enrolld_listen;
    // What join keys, links and credentials say; the one it listens at when empty.
    std::string taskd_public;
    std::string keyd_public;
    std::string enrolld_public;
    // For the certificates; the host's name and the loopback addresses are always among them.
    std::string names;
  };

  // Returns when every service serves. UP_RUNNING, PROGRAM_MISSING, SERVICE_ENDED with the service's own sentence,
  // CANCELLED when a signal came first. Before any thread.
  static absl::StatusOr<std::unique_ptr<Stack>> Start(Options options);
  // Stops the services, the newest first.
  ~Stack();

  // As clients reach them.
  const std::string& taskd_address() const { return options_.taskd_public; }
  const std::string& keyd_address() const { return options_.keyd_public; }
  const std::string& enrolld_address() const { return options_.enrolld_public; }
  // The credential of that name that keyd made at its first start: "admin", "operator".
  std::string CredentialFile(const std::string& name) const;

  // Told of a service that has ended by itself: why, and that it is started again after the pause.
  using OnEnded = std::function<void(const std::string& name, const absl::Status& why, absl::Duration pause)>;
  // Blocks until SIGINT or SIGTERM. A service that ends by itself is started again, and the others go on. SERVICE_ENDED
  // when one has ended five times in a row within a minute of its start: then it will not come up by itself.
  absl::Status WaitForStop(const OnEnded& on_ended);

 private:
  using SteadyTime = std::chrono::steady_clock::time_point;
  struct Service {
    std::string name;
    std::vector<std::string> arguments;
    // None between its end and its next start.
    std::unique_ptr<ServiceProcess> process;
    // Of the process, or of the next one.
    SteadyTime start;
    int early_ends = 0;
  };

  Stack(Options options, DataLock lock);

  absl::Status StartKeyd();
  // taskd or enrolld.
  absl::Status StartFollower(const std::string& name, const std::string& listen, const std::string& public_address);
  absl::Status StartService(const std::string& name, std::vector<std::string> arguments);
  absl::Status Launch(Service* service);
  // Waits until the newest service has written its ready file.
  absl::Status WaitUntilReady(const std::string& ready_file);
  // The first service that has ended; null when all run.
  Service* FirstEnded();
  // Puts it off until its pause is over.
  absl::Status OnServiceEnded(Service* service, const OnEnded& on_ended);
  // Starts those whose pause is over. Milliseconds to the next one's end; -1 when none waits.
  absl::StatusOr<int> StartDue();
  // The credentials of an earlier start may name addresses that have changed since.
  absl::Status Readdress(const std::string& credential);

  Options options_;
  const DataLock lock_;
  SignalFd signals_;
  std::vector<Service> services_;
};

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_STACK_H_
