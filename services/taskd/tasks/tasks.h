// What operators do with tasks. Each method is the RPC of its name, behind the gate, and returns the errors that the
// RPC names, or those of the store.
//
// Threads: all methods may be called from any thread; they block on the store.
#ifndef PARLEY_SERVICES_TASKD_TASKS_TASKS_H_
#define PARLEY_SERVICES_TASKD_TASKS_TASKS_H_

#include <functional>
#include <string>

#include "parley/task/v1/task_service.pb.h"
#include "services/taskd/artifacts/payloads.h"
#include "services/taskd/participants/parts.h"
#include "services/taskd/participants/roster.h"
#include "services/taskd/tasks/lifecycle.h"

namespace parley::taskd {

class Tasks {
 public:
  // All of these must outlive this.
  Tasks(const TaskdParts* parts, const Roster* roster, Lifecycle* lifecycle)
      : parts_(parts), roster_(roster), lifecycle_(lifecycle) {}

  absl::Status Create(const rpc::Caller& caller, const task::v1::CreateTaskRequest& request,
                      task::v1::CreateTaskResponse* response);
  absl::Status Publish(const rpc::Caller& caller, const task::v1::PublishRevisionRequest& request,
                       task::v1::Task* response);
  absl::Status Get(const task::v1::GetTaskRequest& request, task::v1::Task* response) {
    return Answer(request.name(), /*committed=*/false, response);
  }
  absl::Status List(const task::v1::ListTasksRequest& request, task::v1::ListTasksResponse* response);
  absl::Status Pause(const rpc::Caller& caller, const task::v1::PauseTaskRequest& request, task::v1::Task* response);
  absl::Status Resume(const rpc::Caller& caller, const task::v1::ResumeTaskRequest& request, task::v1::Task* response);
  absl::Status Advance(const rpc::Caller& caller, const task::v1::AdvanceTaskRequest& request,
                       task::v1::Task* response);
  absl::Status Abort(const rpc::Caller& caller, const task::v1::AbortTaskRequest& request, task::v1::Task* response);
  absl::Status Delete(const rpc::Caller& caller, const task::v1::DeleteTaskRequest& request,
                      task::v1::DeleteTaskResponse* response);

  // Returns the task in the form of the API, with counts that are no older than the record and what this process has
  // committed, and an etag. Returns UNAVAILABLE (STORE_BEHIND).
  absl::StatusOr<task::v1::Task> Show(Stored<TaskRecord> task) const;

 private:
  // Changes a task's record, and says whether it did.
  using Change = std::function<absl::StatusOr<bool>(TaskRecord* task)>;

  // Everything of a task but its payload.
  absl::StatusOr<TaskRecord> NewRecord(const rpc::Caller& caller, const task::v1::CreateTaskRequest& request,
                                       const std::string& id) const;
  // A commit that makes the task, and its part of `done`.
  absl::StatusOr<store::Transaction> NewTask(const rpc::Caller& caller, const task::v1::CreateTaskRequest& request,
                                             const std::string& id, bool again, RequestLog::Request* done);
  absl::Status SupersedeOld(const std::string& old_name, const std::string& name,
                            store::Transaction* transaction) const;
  // Shows the task with all that this process has committed; unless it has just done so, with what any process has.
  absl::Status Answer(absl::string_view name, bool committed, task::v1::Task* response) const;
  absl::Status AnswerCreate(const RequestRecord& record, bool committed, task::v1::CreateTaskResponse* response) const;
  // A commit that makes the task's next revision, and what that one installs.
  absl::StatusOr<store::Transaction> NewRevision(const rpc::Caller& caller,
                                                 const task::v1::PublishRevisionRequest& request, const std::string& id,
                                                 bool again, RequestLog::Request* done);
  absl::StatusOr<Payload> NewPayload(const task::v1::PublishRevisionRequest& request, const task::v1::Task& task,
                                     const std::string& id, absl::Time now) const;
  absl::Status ChangeTask(const rpc::Caller& caller, absl::string_view name, absl::string_view etag,
                          absl::string_view action, absl::string_view detail, const Change& change,
                          task::v1::Task* response);

  const TaskdParts* const parts_;
  const Roster* const roster_;
  Lifecycle* const lifecycle_;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_TASKS_TASKS_H_
