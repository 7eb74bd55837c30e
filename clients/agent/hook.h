// Runs one of a user's commands, with an end to it.
//
// The command gets its own process group, /dev/null as input, no descriptor but the standard three and no variable
// of Parley's but those given. When it takes longer than its timeout, its whole group is asked to end and then
// killed; when it fails, what it has left of its group is killed. When this process dies, the shell dies too; what the
// shell had started is ended by hook_group.h. What it leaves running in the background on success stays, but should
// redirect its output.
//
// Blocks without polling. Threads: may be called from any thread, which must outlive the call anyway.
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
  // OK when the command exited with 0. Otherwise one sentence: exit code, signal or timeout (HOOK_FAILED), or why it
  // could not be started (HOOK_NOT_STARTED) or how it ended could not be seen (HOOK_END_UNSEEN).
  absl::Status status;
  // Last bytes of standard output and error together.
  std::string output;
  absl::Duration duration;
};

struct HookCommand {
  std::string command;
  std::map<std::string, std::string> variables;
  absl::Duration timeout;
  // Working folder; "/" when this one cannot be entered.
  std::string folder = "/";
  // Called with the number of the command's process group before it runs. An error keeps it from running, and is the
  // result.
  std::function<absl::Status(pid_t group)> started;
};

HookResult RunHook(const HookCommand& hook);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_HOOK_H_
