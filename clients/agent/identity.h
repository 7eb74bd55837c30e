// The names of clients and tasks, and the facts that a machine says of itself.
//
// Threads: any thread may call the functions.
#ifndef PARLEY_CLIENTS_AGENT_IDENTITY_H_
#define PARLEY_CLIENTS_AGENT_IDENTITY_H_

#include <map>
#include <string>

#include "absl/strings/string_view.h"

namespace parley::agent {

// Returns whether it can be the last part of Task.name. It becomes the name of a folder, so that nothing else may.
bool IsTaskId(absl::string_view id);
// Returns whether it can be the last part of Participant.name.
bool IsClientName(absl::string_view name);

// Adds the facts os, arch and host where they are absent.
void AddFacts(std::map<std::string, std::string>* facts);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_IDENTITY_H_
