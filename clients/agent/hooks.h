// The commands that a client runs when a new set is in place.
#ifndef PARLEY_CLIENTS_AGENT_HOOKS_H_
#define PARLEY_CLIENTS_AGENT_HOOKS_H_

#include <string>

#include "absl/time/time.h"

namespace parley::agent {

// Commands for /bin/sh -c, run after the new set is in place; empty ones are skipped. They run in the target folder
// (with a single file as the target, in the folder of that file) and see PARLEY_TASK, PARLEY_REVISION, PARLEY_TARGET,
// PARLEY_DIGEST, PARLEY_LABEL_* and PARLEY_FACT_*. Each may run again after a crash or with the old set during a
// rollback, so both must bear repetition.
struct Hooks {
  std::string check;
  std::string apply;
  // A command that takes longer is killed with its session, which counts as failure.
  absl::Duration check_timeout = absl::Minutes(1);
  absl::Duration apply_timeout = absl::Minutes(2);
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_HOOKS_H_
