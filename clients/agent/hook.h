// Runs one of a user's commands, with an end to it.
//
// The command gets its own process group, /dev/null as input, no descriptor but the standard three and no variable
// of Parley's but those given. When it takes longer than its timeout, its whole group is asked to end and then
// killed. When this process dies, the command dies too, so that a recovery does not run beside it. What it leaves
// running in the background on success stays, but should redirect its output.
//
// Blocks without polling. Threads: may be called from any thread, which must outlive the call anyway.
#ifndef PARLEY_CLIENTS_AGENT_HOOK_H_
#define PARLEY_CLIENTS_AGENT_HOOK_H_

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace parley::agent {

// How much of a command's output is kept: its end, where the cause of a failure stands.
inline constexpr size_t kMaxHookOutputBytes = 4096;

struct HookResult {
  // OK when the command exited with 0. Otherwise one sentence: exit code, signal, timeout, or why it could not run.
  absl::Status status;
  // Last bytes of standard output and error together.
  std::string output;
  absl::Duration duration;
};

HookResult RunHook(const std::string& command, const std::map<std::string, std::string>& variables,
                   absl::Duration timeout);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_HOOK_H_
