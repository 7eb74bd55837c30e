// What decides on this machine whether an update succeeds.
//
// Threads: pure functions.
#ifndef PARLEY_CLIENTS_AGENT_SETUP_H_
#define PARLEY_CLIENTS_AGENT_SETUP_H_

#include <string>

#include "clients/agent/options.h"

namespace parley::agent {

// Returns the SHA-256, 32 bytes, of the commands, their time limits and the target: Declaration.setup_digest.
std::string SetupDigest(const Options& options, const std::string& target);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_SETUP_H_
