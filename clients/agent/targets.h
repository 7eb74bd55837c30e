// The targets that a process may have to do with, and what lies undecided at them.
//
// Threads: the functions may be called from any thread.
#ifndef PARLEY_CLIENTS_AGENT_TARGETS_H_
#define PARLEY_CLIENTS_AGENT_TARGETS_H_

#include <set>
#include <string>

#include "absl/status/status.h"
#include "clients/agent/cancellation.h"
#include "clients/agent/options.h"
#include "clients/agent/target_owner.h"
#include "clients/agent/task_member.h"

namespace parley::agent {

// Returns the target of a task ("{task}" in options.into stands for its id).
std::string TargetOf(const Options& options, const std::string& task);

// Returns the options of the owner of such a target.
TargetOwner::Options OwnerOptions(const Options& options);

// Returns the target of the options, and those that tasks in the state folder have updated.
std::set<std::string> KnownTargets(const Options& options);

// Returns whether an update was begun at the target, as far as can be told without opening it.
bool MayBeUndecided(const std::string& target);

// Returns why what is at the target of the options cannot be one: TARGET_* and the errors of lib/base/file.h. What does
// not exist can.
absl::Status CheckTarget(const Options& options);

// Reads the target's record without opening the target. Returns ROLLBACK_FAILED when the newest rollback of a task has
// failed, so that the old set is not back or its apply command did not pass, and no server has been told of it yet;
// STATE_DAMAGED when the record cannot be read.
absl::Status CheckLastRollback(const std::string& target);

// Blocks until nothing is undecided at the target: until a session has confirmed the update, or its confirm-timeout is
// over and it has been rolled back. With `share`, other processes may take the target over meanwhile, and it does not
// wait for another try of a rollback that has failed. Errors: TARGET_IN_USE (another process has the target, and
// decides it), ROLLBACK_FAILED, CANCELLED, and those of TargetOwner::Get.
absl::Status ResumeTarget(const Options& options, const std::string& target, bool share, const Announcer& announce,
                          Cancellation* cancellation);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_TARGETS_H_
