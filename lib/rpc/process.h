// What every service's main does before and after it serves.
//
//   int main(int argc, char** argv) {
//     return rpc::RunService("keyd", [&](rpc::Process& process) -> absl::Status {
//       … start …
//       RETURN_IF_ERROR(process.Serving(door->listener().address()));
//       process.WaitForStop();
//       … drain …
//       return absl::OkStatus();
//     });
//   }
#ifndef PARLEY_LIB_RPC_PROCESS_H_
#define PARLEY_LIB_RPC_PROCESS_H_

#include <functional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace parley::rpc {

class Process {
 public:
  // The service is ready at this address (host:port, with the real port). Logs "serving" with the field "address"
  // and tells who started the process, so that nobody has to guess a time to wait: the address and a newline are
  // written to the ready file when there is one, and to the descriptor that NOTIFY_FD names, which is then closed.
  // The errors of WriteFileAtomically.
  absl::Status Serving(absl::string_view address);
  // The ready file, of the flag --ready-file. Empty: none.
  void set_ready_file(std::string path) { ready_file_ = std::move(path); }

  // Blocks until SIGTERM or SIGINT.
  void WaitForStop();

 private:
  std::string ready_file_;
};

// Disables core dumps and ptrace by other users, sets umask 077, ignores SIGPIPE, blocks SIGTERM and SIGINT in all
// threads, raises the limit of open files to the hard one, then runs `service`. Returns main's result: 0, or 1
// after printing the error as one sentence on standard error. Once a process, before any thread.
int RunService(absl::string_view name, const std::function<absl::Status(Process&)>& service);

}  // namespace parley::rpc

#endif  // PARLEY_LIB_RPC_PROCESS_H_
