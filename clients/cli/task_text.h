// Tasks and clients in words.
//
// Threads: pure functions.
#ifndef PARLEY_CLIENTS_CLI_TASK_TEXT_H_
#define PARLEY_CLIENTS_CLI_TASK_TEXT_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "parley/task/v1/task.pb.h"

namespace parley::cli {

// Returns "open", "completed with errors".
std::string StateText(task::v1::Task::State state);
// Returns "rolled back".
std::string StateText(task::v1::Participant::State state);
// Returns what an operator may do with a task that was halted, as lines.
std::vector<std::string> WaysOn(const task::v1::Task& task);
// Returns the beginning of a digest, in hex.
std::string DigestText(absl::string_view digest);
// Returns "41 confirmed, 2 deferred, 1 rolled back", or "nobody yet".
std::string CountsText(const task::v1::Counts& counts);
// Returns "{client}" of "tasks/{task}/participants/{client}".
std::string ClientOf(const task::v1::Participant& participant);
// Returns "rolled back"; "hindered" if a hindrance keeps the client from going on.
std::string ParticipantStateText(const task::v1::Participant& participant);
// Returns why the client is in its state, in one line: what it said itself, and what the server has noticed (it was
// revoked, has drifted, is there twice).
std::string WhyText(const task::v1::Participant& participant, absl::Time now);
// Returns state and reason: "rolled back (nginx: [emerg] …)".
std::string StateAndReasonText(const task::v1::Participant& participant);
// What the state of a client comes to, for counting, sorting and colour.
enum class ClientStatus {
  // The client has what is offered.
  kDone,
  // The client has failed, or a person has to look at it.
  kFailed,
  // The client waits for a hindrance on its machine to pass.
  kHindered,
  // The client has declined, is not eligible, or was taken out.
  kOut,
  kOnItsWay,
};
ClientStatus ClientStatusOf(const task::v1::Participant& participant);
// Returns "r2", "r1 drifted", "none".
std::string InstalledText(const task::v1::Participant& participant);
// Returns "yes", "not since 23:10 UTC", "not since taskd's start".
std::string ConnectedText(const task::v1::Participant& participant, absl::Time now);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_TASK_TEXT_H_
