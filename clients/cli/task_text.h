// Tasks and clients in words.
#ifndef PARLEY_CLIENTS_CLI_TASK_TEXT_H_
#define PARLEY_CLIENTS_CLI_TASK_TEXT_H_

#include <string>

#include "parley/task/v1/task.pb.h"

namespace parley::cli {

// "open", "completed with errors".
std::string StateText(task::v1::Task::State state);
// "rolled back".
std::string StateText(task::v1::Participant::State state);
// Whether a task will not change any more.
bool HasEnded(task::v1::Task::State state);
// Whether a client's part in the current revision is over.
bool HasEnded(task::v1::Participant::State state);
// "41 confirmed, 2 deferred, 1 rolled back"; "nobody yet".
std::string CountsText(const task::v1::Counts& counts);
// "tasks/{task}/participants/{client}" -> "{client}".
std::string ClientOf(const task::v1::Participant& participant);
// "rolled back (nginx: [emerg] …)": where a client stands and why.
std::string StandingText(const task::v1::Participant& participant);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_TASK_TEXT_H_
