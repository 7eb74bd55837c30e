// The folder in which a client keeps what it knows of one task: its membership, its chunks, what is installed.
//
//   {state_dir}/tasks/{task}/membership   who we are in the task, and our key; secret
//                            installed    what of the task is installed (installer.h)
//                            chunks/      what has been fetched of the next set (chunk_store.h)
#ifndef PARLEY_CLIENTS_AGENT_TASK_STATE_H_
#define PARLEY_CLIENTS_AGENT_TASK_STATE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "clients/agent/agent_state.pb.h"
#include "lib/base/fd.h"

namespace parley::agent {

class TaskState {
 public:
  // Makes the folder, mode 0700, and locks it. `task`: id. STATE_IN_USE when another process has it; STATE_UNUSABLE
  // when it is no folder, or not this user's alone; STATE_DAMAGED; those of lib/base/file.h.
  static absl::StatusOr<std::unique_ptr<TaskState>> Open(const std::string& state_dir, const std::string& task);
  // Id of the only task that was joined in the folder. STATE_MISSING when there is none, or more than one.
  static absl::StatusOr<std::string> OnlyTask(const std::string& state_dir);
  // Ids of the tasks that were joined in the folder; none when it cannot be read.
  static std::vector<std::string> Tasks(const std::string& state_dir);
  // Folder that the task's client updates; empty when that is not known.
  static std::string TargetOf(const std::string& state_dir, const std::string& task);
  ~TaskState();
  TaskState(const TaskState&) = delete;
  TaskState& operator=(const TaskState&) = delete;

  const std::string& folder() const { return folder_; }
  const Membership& membership() const { return membership_; }
  bool joined() const { return !membership_.identity().empty(); }
  // Durable on return.
  absl::Status SetMembership(Membership membership);

 private:
  TaskState() = default;

  std::string folder_;
  Fd lock_;
  Membership membership_;
};

// Zeroes the key in it.
void WipeMembership(Membership* membership);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_TASK_STATE_H_
