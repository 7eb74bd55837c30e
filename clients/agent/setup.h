// What decides on this machine whether an update succeeds.
#ifndef PARLEY_CLIENTS_AGENT_SETUP_H_
#define PARLEY_CLIENTS_AGENT_SETUP_H_

#include <string>

#include "clients/agent/options.h"

namespace parley::agent {

// SHA-256 of the commands, their time limits and the target: Declaration.setup_digest. 32 bytes.
std::string SetupDigest(const Options& options, const std::string& target);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_SETUP_H_
