// The gRPC side of TaskService: each RPC passes the gate, and becomes a call of what does it.
//
// Threads: gRPC calls the methods on any thread.
#ifndef PARLEY_SERVICES_TASKD_SERVICE_TASK_SERVICE_H_
#define PARLEY_SERVICES_TASKD_SERVICE_TASK_SERVICE_H_

#include <memory>

#include "absl/strings/str_cat.h"
#include "lib/rpc/start_stream.h"
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

  Reactor* CreateTask(Context* context, const task::v1::CreateTaskRequest* request,
                      task::v1::CreateTaskResponse* response) override {
    return Run("CreateTask", tasks_, &Tasks::Create, context, request, response);
  }
  Reactor* PublishRevision(Context* context, const task::v1::PublishRevisionRequest* request,
                           task::v1::Task* response) override {
    return Run("PublishRevision", tasks_, &Tasks::Publish, context, request, response);
  }
  Reactor* GetTask(Context* context, const task::v1::GetTaskRequest* request, task::v1::Task* response) override {
    return Run("GetTask", tasks_, &Tasks::Get, context, request, response);
  }
  Reactor* ListTasks(Context* context, const task::v1::ListTasksRequest* request,
                     task::v1::ListTasksResponse* response) override {
    return Run("ListTasks", tasks_, &Tasks::List, context, request, response);
  }
  Reactor* PauseTask(Context* context, const task::v1::PauseTaskRequest* request, task::v1::Task* response) override {
    return Run("PauseTask", tasks_, &Tasks::Pause, context, request, response);
  }
  Reactor* ResumeTask(Context* context, const task::v1::ResumeTaskRequest* request, task::v1::Task* response) override {
    return Run("ResumeTask", tasks_, &Tasks::Resume, context, request, response);
  }
  Reactor* AbortTask(Context* context, const task::v1::AbortTaskRequest* request, task::v1::Task* response) override {
    return Run("AbortTask", tasks_, &Tasks::Abort, context, request, response);
  }
  Reactor* CreateJoinKey(Context* context, const task::v1::CreateJoinKeyRequest* request,
                         task::v1::CreateJoinKeyResponse* response) override {
    return Run("CreateJoinKey", roster_, &Roster::CreateJoinKey, context, request, response);
  }
  Reactor* ListJoinKeys(Context* context, const task::v1::ListJoinKeysRequest* request,
                        task::v1::ListJoinKeysResponse* response) override {
    return Run("ListJoinKeys", roster_, &Roster::ListJoinKeys, context, request, response);
  }
  Reactor* RevokeJoinKey(Context* context, const task::v1::RevokeJoinKeyRequest* request,
                         task::v1::JoinKey* response) override {
    return Run("RevokeJoinKey", roster_, &Roster::RevokeJoinKey, context, request, response);
  }
  Reactor* ListParticipants(Context* context, const task::v1::ListParticipantsRequest* request,
                            task::v1::ListParticipantsResponse* response) override {
    return Run("ListParticipants", roster_, &Roster::ListParticipants, context, request, response);
  }
  Reactor* GetParticipant(Context* context, const task::v1::GetParticipantRequest* request,
                          task::v1::Participant* response) override {
    return Run("GetParticipant", roster_, &Roster::GetParticipant, context, request, response);
  }
  Reactor* RetryClients(Context* context, const task::v1::RetryClientsRequest* request,
                        task::v1::RetryClientsResponse* response) override {
    return Run("RetryClients", roster_, &Roster::RetryClients, context, request, response);
  }
  Reactor* RevokeParticipant(Context* context, const task::v1::RevokeParticipantRequest* request,
                             task::v1::Participant* response) override {
    return Run("RevokeParticipant", roster_, &Roster::RevokeParticipant, context, request, response);
  }
  Reactor* AwaitEndedKeys(Context* context, const task::v1::AwaitEndedKeysRequest* request,
                          task::v1::AwaitEndedKeysResponse* response) override {
    return Run("AwaitEndedKeys", dependents_, &Dependents::AwaitEndedKeys, context, request, response);
  }
  WatchStream::Reactor* WatchTask(Context* context, const task::v1::WatchTaskRequest* request) override {
    return rpc::StartStream(*gate_, context, Method("WatchTask"), [&](const rpc::Caller& caller) {
      return std::make_shared<WatchStream>(parts_, tasks_, caller.flow(), *request);
    });
  }

  // Runs a method of a part behind the gate. Some need not know who calls.
  template <typename Part, typename Request, typename Response>
  Reactor* Run(absl::string_view name, Part* part, absl::Status (Part::*method)(const Request&, Response*),
               Context* context, const Request* request, Response* response) {
    return gate_->Unary(context, Method(name), [=](const rpc::Caller&) { return (part->*method)(*request, response); });
  }
  template <typename Part, typename Request, typename Response>
  Reactor* Run(absl::string_view name, Part* part,
               absl::Status (Part::*method)(const rpc::Caller&, const Request&, Response*), Context* context,
               const Request* request, Response* response) {
    return gate_->Unary(context, Method(name),
                        [=](const rpc::Caller& caller) { return (part->*method)(caller, *request, response); });
  }
  static std::string Method(absl::string_view name) { return absl::StrCat("parley.task.v1.TaskService.", name); }

  const rpc::Gate* const gate_;
  Tasks* const tasks_;
  Roster* const roster_;
  Dependents* const dependents_;
  const TaskdParts* const parts_;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_SERVICE_TASK_SERVICE_H_
