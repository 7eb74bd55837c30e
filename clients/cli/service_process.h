// A service that `parley up` runs as its child.
//
// Threads: one thread. Stop blocks.
#ifndef PARLEY_CLIENTS_CLI_SERVICE_PROCESS_H_
#define PARLEY_CLIENTS_CLI_SERVICE_PROCESS_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace parley::cli {

// Returns the path of the program `name` beside this one, or in a folder of $PARLEY_LIBEXEC ("a:b"). Returns NOT_FOUND
// (PROGRAM_MISSING), which says where it was sought.
absl::StatusOr<std::string> FindProgram(const std::string& name);

// A program to be run.
struct ServiceProgram {
  // The name in messages and of the log: "keyd-2".
  std::string name;
  std::string path;
  std::vector<std::string> arguments;
  // Its working folder; empty for this process's own.
  std::string folder;
  // Its output is appended to this file.
  std::string log_path;
  // What an earlier process may have left, and a new one would stumble over: removed before each start.
  std::vector<std::string> leftovers;
};

// A child in a process group of its own, so that Ctrl-C reaches the parent alone. It ends when its parent dies.
class ServiceProcess {
 public:
  // Starts a program. Returns the errors of FileError (lib/base/file.h) for the log, or INTERNAL if the system cannot
  // start a process.
  static absl::StatusOr<std::unique_ptr<ServiceProcess>> Start(const ServiceProgram& program);
  ~ServiceProcess();

  const std::string& name() const { return name_; }
  pid_t pid() const { return pid_; }

  // Returns whether the process has ended, as the kernel says.
  bool Ended();
  // Returns ABORTED (SERVICE_ENDED), which says why the process ended, in its own words if it left any.
  absl::Status WhyEnded() const;
  // Ends the process, as the destructor does: by SIGTERM, and by SIGKILL if that takes more than 20 seconds.
  void Stop();

 private:
  ServiceProcess(std::string name, pid_t pid, std::string log_path, off_t log_start);

  const std::string name_;
  const pid_t pid_;
  const std::string log_path_;
  // Where in the log the output of this process begins.
  const off_t log_start_;
  bool ended_ = false;
  int wait_status_ = 0;
};

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_SERVICE_PROCESS_H_
