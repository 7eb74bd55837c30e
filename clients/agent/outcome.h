// How a client's part in a task has ended.
//
// Threads: plain data.
#ifndef PARLEY_CLIENTS_AGENT_OUTCOME_H_
#define PARLEY_CLIENTS_AGENT_OUTCOME_H_

#include <cstdint>
#include <string>

#include "parley/task/v1/task.pb.h"

namespace parley::agent {

struct Outcome {
  // "tasks/{task}".
  std::string task;
  // CONFIRMED, UP_TO_DATE, INELIGIBLE, DECLINED, ROLLED_BACK, ROLLBACK_FAILED, CANCELED or TIMED_OUT; unspecified
  // when the task ended before anything was offered.
  task::v1::Participant::State state = task::v1::Participant::STATE_UNSPECIFIED;
  task::v1::Task::State task_state = task::v1::Task::STATE_UNSPECIFIED;
  int64_t revision = 0;
  // The same as Participant.reason and Participant.detail.
  std::string reason;
  std::string detail;

  // Returns whether the offered set is installed.
  bool ok() const {
    return state == task::v1::Participant::STATE_CONFIRMED || state == task::v1::Participant::STATE_UP_TO_DATE;
  }
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_OUTCOME_H_
