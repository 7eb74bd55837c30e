// What ended at taskd and enrolld with credentials that keyd has just revoked, for the person who revoked them.
//
// Threads: free functions. AskWhatEnded blocks.
#ifndef PARLEY_CLIENTS_CLI_ENDED_WITH_H_
#define PARLEY_CLIENTS_CLI_ENDED_WITH_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "clients/cli/command.h"
#include "google/protobuf/repeated_ptr_field.h"

namespace parley::cli {

struct EndedWith {
  int member_keys = 0;
  int join_keys = 0;
  int invitations = 0;
  // The names of tasks that were made with the credentials and go on.
  std::vector<std::string> open_tasks;
  // The error of each service that could not be asked. What depends on the credentials ends there all the same, once
  // the service hears of it.
  std::vector<absl::Status> unknown;
};

// Asks both services. They answer when it is done, within some seconds. `credentials` are names:
// "credentials/{serial}".
EndedWith AskWhatEnded(const Globals& globals, const google::protobuf::RepeatedPtrField<std::string>& credentials);

// Returns "3 member keys, 1 join key", or "nothing else".
std::string EndedText(const EndedWith& ended);
// Returns the same as a JSON object.
std::string EndedJson(const EndedWith& ended);
// Prints lines about the tasks that go on, and about the services that could not be asked.
void ShowWhatGoesOn(const EndedWith& ended);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_ENDED_WITH_H_
