// The services of one machine, run together: what `parley up` does.
//
//   ASSIGN_OR_RETURN(auto stack, Stack::Start(options));
//   … use stack->options().taskd_public …
//   return stack->WaitForStop(on_ended);
//
// Threads: one thread, and no other one in the process before Start has returned. Start, WaitForStop and the destructor
// block.
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

// A lock that a process holds while its stack runs on a data folder. The locked file has the process's id.
class DataLock {
 public:
  // Returns ALREADY_EXISTS (UP_RUNNING), which names the folder and the process that holds the lock, or the errors of
  // FileError (lib/base/file.h).
  static absl::StatusOr<DataLock> Take(const std::string& data);
  // Returns the id of the process that holds the lock on a folder, or 0.
  static pid_t Holder(const std::string& data);
  // Blocks until nobody holds the lock.
  static void WaitUntilFree(const std::string& data);

 private:
  explicit DataLock(Fd file) : file_(std::move(file)) {}
  Fd file_;
};

class Stack {
 public:
  struct Options {
    std::string data;
    // Where the services listen, as host:port; port 0 takes a free one.
    std::string taskd_listen = "127.0.0.1:7443";
    std::string keyd_listen = "127.0.0.1:7444";
    std::string enrolld_listen = "127.0.0.1:7445";
    // The addresses that join keys, credentials and links name. Start fills in those that are empty.
    std::string taskd_public;
    std::string keyd_public;
    std::string enrolld_public;
    // Further names for the certificates: "a,b,c". The host's name and the loopback addresses are always among them.
    std::string names;
    // How many processes of each service there are, 1 to 9. More than one share an etcd of three members, which only
    // this user can reach. Those after the first listen 10, 20 … ports higher, or at free ones.
    int replicas = 1;
  };

  // Returns a stack of which every service serves. Returns the errors of DataLock::Take, of FindProgram and of
  // ServiceProcess::Start, a usage error for an address or a number of replicas, NOT_FOUND (PROGRAM_MISSING) without
  // etcd, FAILED_PRECONDITION (DATA_OF_ONE, DATA_OF_SEVERAL) for the data of another kind of stack, ABORTED
  // (SERVICE_ENDED) with the service's own sentence, DEADLINE_EXCEEDED
  // (SERVICE_NOT_READY), CANCELLED (CANCELLED) if a signal came first, or the errors of lib/base/file.h.
  static absl::StatusOr<std::unique_ptr<Stack>> Start(Options options);
  // Stops the services, the newest first.
  ~Stack();

  // Returns the addresses that were chosen, among them those under which clients reach the services.
  const Options& options() const { return options_; }
  // Returns the path of a credential that keyd made at its first start: "admin", "operator".
  std::string CredentialFile(const std::string& name) const;

  // Hears of a service that has ended by itself: why, and that it is started again after the pause.
  using OnEnded = std::function<void(const std::string& name, const absl::Status& why, absl::Duration pause)>;
  // Blocks until SIGINT or SIGTERM. A service that ends by itself is started again, and the others go on. Returns
  // ABORTED (SERVICE_ENDED) if one has ended five times in a row within a minute of its start, or the errors of
  // ServiceProcess::Start.
  absl::Status WaitForStop(const OnEnded& on_ended);

 private:
  using SteadyTime = std::chrono::steady_clock::time_point;
  struct Service {
    ServiceProgram program;
    // Null between an end and the next start.
    std::unique_ptr<ServiceProcess> process;
    // When the process was started, or when the next one will be.
    SteadyTime start;
    int early_ends = 0;
  };

  Stack(Options options, DataLock lock);

  // Where the replicas of one service listen.
  using Listens = std::vector<std::string>;
  // Settles where the replicas of a service listen and how others reach them.
  static absl::StatusOr<Listens> ChooseAddresses(absl::string_view option, int replicas, const std::string& listen,
                                                 std::string* public_address);
  absl::Status StartEtcd();
  absl::Status StartKeyd(int replica, const std::string& listen);
  // Starts taskd or enrolld.
  absl::Status StartFollower(const std::string& name, int replica, const std::string& listen,
                             const std::string& public_address);
  // Starts a service, and waits until it is ready.
  absl::Status StartService(const std::string& name, int replica, std::vector<std::string> arguments);
  absl::Status Add(ServiceProgram program);
  absl::Status Launch(Service* service);
  // Makes a secret that the replicas share, unless it is there.
  absl::Status MakeSharedSecret(const std::string& path) const;
  bool shares_store() const { return options_.replicas > 1; }
  // Waits until the newest service has written its ready file.
  absl::Status WaitUntilReady(const std::string& ready_file);
  // Returns the first service that has ended, or null.
  Service* FirstEnded();
  // Puts the next start off until a pause is over.
  absl::Status OnServiceEnded(Service* service, const OnEnded& on_ended);
  // Starts the services whose pause is over. Returns the milliseconds to the end of the next pause, or -1.
  absl::StatusOr<int> StartDue();
  // Puts the present addresses into a credential: one of an earlier start may name others.
  absl::Status Readdress(const std::string& credential);

  Options options_;
  const DataLock lock_;
  SignalFd signals_;
  std::vector<Service> services_;
};

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_STACK_H_
