// Ends what a command has left running, also when this program was killed meanwhile.
//
// The shell dies with its parent; what it had started goes on, and would run beside the next process's commands. All of
// it is one session, which the journal names, with as many process groups as timeout(1) or a shell may have made. What
// has begun a session of its own is no part of the command any more.
//
// Threads: any thread may call the functions.
#ifndef PARLEY_CLIENTS_AGENT_HOOK_GROUP_H_
#define PARLEY_CLIENTS_AGENT_HOOK_GROUP_H_

#include <sys/types.h>

#include <string>

#include "absl/status/status.h"
#include "clients/agent/agent_state.pb.h"

namespace parley::agent {

// Returns by what a group or session can be told from a later one with the same number, which is that of its leader.
Journal::HookGroup DescribeGroup(pid_t group, const std::string& boot_id);

// Sends the signal to all that run in a session whose leader was not waited for yet.
void SignalSession(pid_t session, int number);

// Asks the group, or session, to end, kills it after two seconds, and waits until it is gone. A group of another boot
// is gone. Returns TARGET_BUSY if it does not end within ten seconds.
absl::Status EndGroup(const Journal::HookGroup& group, const std::string& boot_id);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_HOOK_GROUP_H_
