// Ends what a command has left running when this program was killed meanwhile.
//
// The shell dies with its parent; what it had started goes on, and would run beside the next process's commands. All of
// it is one process group, which the journal names.
//
// Threads: any thread may call the functions.
#ifndef PARLEY_CLIENTS_AGENT_HOOK_GROUP_H_
#define PARLEY_CLIENTS_AGENT_HOOK_GROUP_H_

#include <sys/types.h>

#include <string>

#include "absl/status/status.h"
#include "clients/agent/agent_state.pb.h"

namespace parley::agent {

// Returns by what the group can be told from a later one with the same number.
Journal::HookGroup DescribeGroup(pid_t group, const std::string& boot_id);

// Asks the group to end, kills it after two seconds, and waits until it is gone. A group of another boot is gone.
// Returns TARGET_BUSY if it does not end within ten seconds.
absl::Status EndGroup(const Journal::HookGroup& group, const std::string& boot_id);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_HOOK_GROUP_H_
