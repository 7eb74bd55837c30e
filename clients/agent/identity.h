// Who this machine is: names and facts.
#ifndef PARLEY_CLIENTS_AGENT_IDENTITY_H_
#define PARLEY_CLIENTS_AGENT_IDENTITY_H_

#include <map>
#include <string>

#include "absl/strings/string_view.h"

namespace parley::agent {

// As Task.name's last part: it becomes the name of a folder, so nothing else may.
bool IsTaskId(absl::string_view id);
// As Participant.name's last part.
bool IsClientName(absl::string_view name);

// Adds os, arch and host where absent.
void AddFacts(std::map<std::string, std::string>* facts);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_IDENTITY_H_
