// A roll-out as a picture of text: a bar for each wave, what the next one waits for, and failures by their cause.
//
// Threads: pure functions.
#ifndef PARLEY_CLIENTS_CLI_ROLLOUT_VIEW_H_
#define PARLEY_CLIENTS_CLI_ROLLOUT_VIEW_H_

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "parley/task/v1/task.pb.h"

namespace parley::cli {

// Returns the lines for a task, without a margin, each of at most `columns`. A task without waves is shown as one.
std::vector<std::string> RolloutPicture(const task::v1::Task& task, size_t columns, absl::Time now);

// Returns a line for each cause that keeps clients from the revision, the most frequent first, with an example. Each is
// cut at `columns`.
std::vector<std::string> CausesText(const std::vector<task::v1::Participant>& clients, size_t columns, absl::Time now);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_ROLLOUT_VIEW_H_
