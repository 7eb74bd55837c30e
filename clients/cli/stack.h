// The services of one machine, run together: what `parley up` does.
//
//   ASSIGN_OR_RETURN(auto stack, Stack::Start(options));
//   … use stack->taskd_address() …
//   return stack->WaitForStop();
#ifndef PARLEY_CLIENTS_CLI_STACK_H_
#define PARLEY_CLIENTS_CLI_STACK_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clients/cli/service_process.h"
#include "clients/cli/signals.h"

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

  DataLock(DataLock&& other) noexcept;
  DataLock& operator=(DataLock&&) = delete;
  ~DataLock();

 private:
  explicit DataLock(int fd) : fd_(fd) {}
  int fd_;
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

  // Blocks until SIGINT or SIGTERM, or until a service ends by itself: SERVICE_ENDED.
  absl::Status WaitForStop();

 private:
  Stack(Options options, DataLock lock);

  absl::Status StartKeyd();
  // taskd or enrolld.
  absl::Status StartFollower(const std::string& name, const std::string& listen, const std::string& public_address);
  absl::Status StartService(const std::string& name, std::vector<std::string> arguments);
  // Waits until the newest service has written its ready file.
  absl::Status WaitUntilReady(const std::string& ready_file);
  // The first service that has ended; null when all run.
  const ServiceProcess* FirstEnded();
  // The credentials of an earlier start may name addresses that have changed since.
  absl::Status Readdress(const std::string& credential);

  Options options_;
  const DataLock lock_;
  SignalFd signals_;
  std::vector<std::unique_ptr<ServiceProcess>> services_;
};

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_STACK_H_
