// The gRPC side of TaskService: each RPC passes the gate, and becomes a call of what does it.
//
// Threads: gRPC calls the methods on any thread.
#ifndef PARLEY_SERVICES_TASKD_SERVICE_TASK_SERVICE_H_
#define PARLEY_SERVICES_TASKD_SERVICE_TASK_SERVICE_H_

#include "lib/rpc/gate.h"
#include "parley/task/v1/task_service.grpc.pb.h"
#include "services/taskd/participants/dependents.h"
#include "services/taskd/participants/roster.h"
#include "services/taskd/tasks/tasks.h"
#include "services/taskd/tasks/watch_stream.h"

namespace parley::taskd {

// All parts must outlive the service.
class TaskServiceAdapter final : public task::v1::TaskService::CallbackService {
 public:
  TaskServiceAdapter(const rpc::Gate* gate, Tasks* tasks, Roster* roster, Dependents* dependents,
                     const TaskdParts* parts)
      : gate_(gate), tasks_(tasks), roster_(roster), dependents_(dependents), parts_(parts) {}

 private:
  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;

  Reactor* CreateTask(Context*, const task::v1::CreateTaskRequest*, task::v1::CreateTaskResponse*) override;
  Reactor* PublishRevision(Context*, const task::v1::PublishRevisionRequest*, task::v1::Task*) override;
  Reactor* GetTask(Context*, const task::v1::GetTaskRequest*, task::v1::Task*) override;
  Reactor* ListTasks(Context*, const task::v1::ListTasksRequest*, task::v1::ListTasksResponse*) override;
  Reactor* PauseTask(Context*, const task::v1::PauseTaskRequest*, task::v1::Task*) override;
  Reactor* ResumeTask(Context*, const task::v1::ResumeTaskRequest*, task::v1::Task*) override;
  Reactor* AbortTask(Context*, const task::v1::AbortTaskRequest*, task::v1::Task*) override;
  grpc::ServerWriteReactor<task::v1::WatchTaskResponse>* WatchTask(Context*,
                                                                   const task::v1::WatchTaskRequest*) override;
  Reactor* CreateJoinKey(Context*, const task::v1::CreateJoinKeyRequest*, task::v1::CreateJoinKeyResponse*) override;
  Reactor* ListJoinKeys(Context*, const task::v1::ListJoinKeysRequest*, task::v1::ListJoinKeysResponse*) override;
  Reactor* RevokeJoinKey(Context*, const task::v1::RevokeJoinKeyRequest*, task::v1::JoinKey*) override;
  Reactor* ListParticipants(Context*, const task::v1::ListParticipantsRequest*,
                            task::v1::ListParticipantsResponse*) override;
  Reactor* GetParticipant(Context*, const task::v1::GetParticipantRequest*, task::v1::Participant*) override;
  Reactor* RetryClients(Context*, const task::v1::RetryClientsRequest*, task::v1::RetryClientsResponse*) override;
  Reactor* RevokeParticipant(Context*, const task::v1::RevokeParticipantRequest*, task::v1::Participant*) override;
  Reactor* AwaitEndedKeys(Context*, const task::v1::AwaitEndedKeysRequest*, task::v1::AwaitEndedKeysResponse*) override;

  const rpc::Gate* const gate_;
  Tasks* const tasks_;
  Roster* const roster_;
  Dependents* const dependents_;
  const TaskdParts* const parts_;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_SERVICE_TASK_SERVICE_H_
