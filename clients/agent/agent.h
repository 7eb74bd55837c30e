// Takes part in update tasks: what `parley join` and `parley agent` do.
//
// Join enters one task with a pasted key and carries out what it offers: verify, fetch, apply, check, confirm, or
// roll back. RunDevice does the same for every task that selects a machine by its labels, which operators set, for as
// long as it is let. ResumePending ends what an earlier process left undecided.
//
// Guarantees, whatever the server sends and whenever the process is killed: the target folder is the whole old set
// or the whole new one; nothing is applied that the task's key has not signed, that is older than what was applied
// before, or that has expired. docs/protocol/applying.md has the steps.
//
// Everything durable is in `state_dir`, in one folder for each task. One process at a time may use that folder, or a
// target.
//
//   agent::JoinOptions options;
//   ASSIGN_OR_RETURN(options.key, keys::ParseJoinKey(pasted, absl::Now()));
//   options.state_dir = "/var/lib/parley";
//   options.into = "/etc/nginx";
//   options.hooks.check = "nginx -t";
//   options.hooks.apply = "systemctl reload nginx";
//   ASSIGN_OR_RETURN(const agent::Outcome outcome, agent::Join(std::move(options), &printer));
//
// Threads: Join, RunDevice and ResumePending block their callers. They may be called from any thread.
#ifndef PARLEY_CLIENTS_AGENT_AGENT_H_
#define PARLEY_CLIENTS_AGENT_AGENT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clients/agent/events.h"
#include "clients/agent/options.h"
#include "clients/agent/outcome.h"

namespace parley::agent {

// Returns the host's name in the shape of a client's name: lower case, [a-z0-9._-], at most 64 characters.
std::string DefaultClientName();

// Blocks until the client's part has ended. A refusal, a rollback and an abort are outcomes; errors are what stopped
// the agent itself. Without `follow` a hindrance is waited for, and becomes the error when it lasts; one that a person
// must mend is the error at once; the operator is told of either. Calling Join again after a failure asks for another
// attempt. Reasons of errors: KEY_REFUSED, KEY_EXPIRED, STATE_IN_USE, STATE_MISSING, STATE_CONFLICT, STATE_UNUSABLE (no
// folder, or not this user's alone), TARGET_* (a folder that cannot be updated), FORCED, DRIFTED (what was confirmed is
// not on the disk, and the server does not offer it again), CONNECTION_* (never reached), MANIFEST_*, OPERATOR_*,
// CHAIN_* and those of the payload (also reported to the operator), NO_CHAIN (a signature is required, and nothing to
// verify it by is given), and those of the server.
absl::StatusOr<Outcome> Join(JoinOptions options, Observer* observer);

// Decides what lies undecided at the target, without a server: an update that was interrupted, or was never confirmed.
// It uses `into` or `into_file`, `state_dir`, `clock` and `stop` of `options`; the journal has the rest. It blocks
// until the update's confirm-timeout is over where there is time left. Returns OK when nothing is undecided and the
// last rollback brought everything back; otherwise TARGET_IN_USE (an agent that runs decides it), ROLLBACK_FAILED
// (until a server knows of it), or what stopped it.
absl::Status ResumePending(const Options& options, Observer* observer);

// Carries out the tasks that select the machine, and blocks until it is stopped or has to end. A server that is away,
// or that refuses the key, is waited for. Returns CANCELLED when it was stopped, KEY_EXPIRED when its key ended without
// a next one, NOT_A_DEVICE if the credential is not a device's, NO_CHAIN as Join does, and an error of the server that
// no waiting mends.
absl::Status RunDevice(DeviceOptions options, Observer* observer);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_AGENT_H_
