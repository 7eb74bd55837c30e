// The services that `parley up` runs, as its children.
#ifndef PARLEY_CLIENTS_CLI_SERVICE_PROCESS_H_
#define PARLEY_CLIENTS_CLI_SERVICE_PROCESS_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace parley::cli {

// The file `name` beside this program, or in a folder of $PARLEY_LIBEXEC ("a:b"). NOT_FOUND says where it was sought.
absl::StatusOr<std::string> FindProgram(const std::string& name);

// One child, in a process group of its own, so that a Ctrl-C reaches the parent alone. Ends when its parent dies.
class ServiceProcess {
 public:
  // Starts a program; its output is appended to `log_path`. The error of starting it.
  static absl::StatusOr<std::unique_ptr<ServiceProcess>> Start(const std::string& name,
                                                               const std::vector<std::string>& arguments,
                                                               const std::string& log_path);
  // Stops it.
  ~ServiceProcess();

  const std::string& name() const { return name_; }
  pid_t pid() const { return pid_; }

  // Whether it has ended; asks the kernel.
  bool Ended();
  // Why it ended, in its own words when it left any.
  absl::Status WhyEnded() const;
  // SIGTERM, then SIGKILL when it has not ended within 20 seconds. Nothing when it has ended.
  void Stop();

 private:
  ServiceProcess(std::string name, pid_t pid, std::string log_path, off_t log_start);

  const std::string name_;
  const pid_t pid_;
  const std::string log_path_;
  // Where in the log this process begins.
  const off_t log_start_;
  bool ended_ = false;
  int wait_status_ = 0;
};

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_SERVICE_PROCESS_H_
