// The folder in which a client keeps what it knows of one task: its membership, its chunks, what is installed.
//
//   {state_dir}/tasks/{task}/membership   the client's name in the task, and its member key; secret
//                            installed    the highest revision of the task that was installed (installer.h)
//                            chunks/      what has been fetched of the next set (chunk_cache.h)
//
// Threads: not thread-safe, except for the static methods.
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
  // Makes the folder with mode 0700 if it is missing, and locks it. `task` is the id of the task. Returns STATE_MISSING
  // if `state_dir` is empty, STATE_IN_USE if another process has the folder, STATE_UNUSABLE if it cannot be a folder or
  // is not this user's alone, STATE_DAMAGED if the membership cannot be read, and the errors of lib/base/file.h.
  static absl::StatusOr<std::unique_ptr<TaskState>> Open(const std::string& state_dir, const std::string& task);
  // Returns the id of the only task that was joined in the folder, or STATE_MISSING if there is none or more than one.
  static absl::StatusOr<std::string> OnlyTask(const std::string& state_dir);
  // Returns the ids of the tasks that were joined in the folder; none if it cannot be read.
  static std::vector<std::string> Tasks(const std::string& state_dir);
  // Returns the target that the task's client updates; empty if that is not known.
  static std::string TargetOf(const std::string& state_dir, const std::string& task);
  ~TaskState();
  TaskState(const TaskState&) = delete;
  TaskState& operator=(const TaskState&) = delete;

  const std::string& folder() const { return folder_; }
  const Membership& membership() const { return membership_; }
  bool joined() const { return !membership_.identity().empty(); }
  // Stores the membership, durably. Returns the errors of lib/base/file.h.
  absl::Status SetMembership(Membership membership);

 private:
  TaskState() = default;

  std::string folder_;
  Fd lock_;
  Membership membership_;
};

// Empties the membership, and zeroes the key in it.
void WipeMembership(Membership* membership);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_TASK_STATE_H_
