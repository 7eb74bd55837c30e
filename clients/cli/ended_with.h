// What ended at taskd and enrolld with credentials that keyd has just revoked, for who revoked them.
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
  // Tasks that were made with them and go on.
  std::vector<std::string> open_tasks;
  // Of a service that could not be asked. What hangs on the credentials ends there all the same, once it hears of it.
  std::vector<absl::Status> unknown;
};

// Asks both services, which answer when it is done, within some seconds. `credentials`: "credentials/{serial}" each.
EndedWith AskWhatEnded(const Globals& globals, const google::protobuf::RepeatedPtrField<std::string>& credentials);

// "3 member keys, 1 join key"; "nothing else" when nothing did.
std::string EndedText(const EndedWith& ended);
// The same as a JSON object.
std::string EndedJson(const EndedWith& ended);
// Lines of what goes on, and of who could not be asked.
void ShowWhatGoesOn(const EndedWith& ended);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_ENDED_WITH_H_
