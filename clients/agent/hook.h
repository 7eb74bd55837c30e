// Runs one of a user's commands, and sees to it that the command ends.
//
// The command gets its own session, /dev/null as input, no descriptor but the standard three and no variable of
// Parley's but those given. When it takes longer than its timeout, its whole session is asked to end and then
// killed; when it fails, what it has left of its session is killed. When this process dies, the shell dies too; what
// the shell had started is ended by hook_group.h. What a command that succeeds leaves running in the background stays,
// but should redirect its output.
//
// Threads: RunHook blocks, without polling, and may be called from any thread. The command dies with that thread.
#ifndef PARLEY_CLIENTS_AGENT_HOOK_H_
#define PARLEY_CLIENTS_AGENT_HOOK_H_

#include <sys/types.h>

#include <functional>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace parley::agent {

// How much of a command's output is kept: its end, where the cause of a failure stands.
inline constexpr size_t kMaxHookOutputBytes = 4096;

struct HookResult {
  // OK if the command exited with 0. Otherwise HOOK_FAILED with its exit code, signal or timeout, HOOK_NOT_STARTED if
  // it could not be started, HOOK_END_UNSEEN if nobody saw how it ended, or the error of `started`.
  absl::Status status;
  // The last bytes of its standard output and error together.
  std::string output;
  absl::Duration duration;
};

struct HookCommand {
  std::string command;
  std::map<std::string, std::string> variables;
  absl::Duration timeout;
  // The working folder; the command runs in "/" if this one cannot be entered.
  std::string folder = "/";
  // Is called with the number of the command's session before the command runs; may be null. Its error keeps the
  // command from running, and is the result.
  std::function<absl::Status(pid_t group)> started;
};

// Runs the command and waits for its end.
HookResult RunHook(const HookCommand& hook);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_HOOK_H_
