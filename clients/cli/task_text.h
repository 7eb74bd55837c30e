// Tasks and clients in words.
#ifndef PARLEY_CLIENTS_CLI_TASK_TEXT_H_
#define PARLEY_CLIENTS_CLI_TASK_TEXT_H_

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "parley/task/v1/task.pb.h"

namespace parley::cli {

// "open", "completed with errors".
std::string StateText(task::v1::Task::State state);
// "rolled back".
std::string StateText(task::v1::Participant::State state);
// What an operator may do with a task that was halted, one line each.
std::vector<std::string> WaysOn(const task::v1::Task& task);
// "41 confirmed, 2 deferred, 1 rolled back"; "nobody yet".
std::string CountsText(const task::v1::Counts& counts);
// "tasks/{task}/participants/{client}" -> "{client}".
std::string ClientOf(const task::v1::Participant& participant);
// "rolled back", and "hindered" where the cause passes.
std::string ParticipantStateText(const task::v1::Participant& participant);
// Why it stands there, in one line: what it said itself, and what the server has noticed: revoked, drifted, there
// twice.
std::string WhyText(const task::v1::Participant& participant, absl::Time now);
// "rolled back (nginx: [emerg] …)": both.
std::string StateAndReasonText(const task::v1::Participant& participant);
// How a client stands, for counting, sorting and colour.
enum class ClientStatus {
  // It has what is offered.
  kDone,
  // It failed, or a person has to look at it.
  kFailed,
  // It waits for something on its machine to pass.
  kHindered,
  // It refused, is not eligible, or was taken out.
  kOut,
  kOnItsWay,
};
ClientStatus ClientStatusOf(const task::v1::Participant& participant);
// "r2", "r1 drifted", "none".
std::string InstalledText(const task::v1::Participant& participant);
// "yes", "not since 23:10 UTC", "no".
std::string ConnectedText(const task::v1::Participant& participant, absl::Time now);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_TASK_TEXT_H_
