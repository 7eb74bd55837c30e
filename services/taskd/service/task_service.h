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
#include "services/taskd/tasks/revisions.h"
#include "services/taskd/tasks/tasks.h"
#include "services/taskd/tasks/watch_stream.h"

namespace parley::taskd {

// All parts must outlive the service.
class TaskServiceAdapter final : public task::v1::TaskService::CallbackService {
 public:
  TaskServiceAdapter(const rpc::Gate* gate, Tasks* tasks, const Revisions* revisions, Roster* roster,
                     Dependents* dependents, const TaskdParts* parts)
      : gate_(gate), tasks_(tasks), revisions_(revisions), roster_(roster), dependents_(dependents), parts_(parts) {}

 private:
  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;

  Reactor* CreateTask(Context* context, const task::v1::CreateTaskRequest* request,
                      task::v1::CreateTaskResponse* response) override {
    return gate_->Unary(context, Method("CreateTask"), tasks_, &Tasks::Create, request, response);
  }
  Reactor* PublishRevision(Context* context, const task::v1::PublishRevisionRequest* request,
                           task::v1::Task* response) override {
    return gate_->Unary(context, Method("PublishRevision"), tasks_, &Tasks::Publish, request, response);
  }
  Reactor* ListRevisions(Context* context, const task::v1::ListRevisionsRequest* request,
                         task::v1::ListRevisionsResponse* response) override {
    return gate_->Unary(context, Method("ListRevisions"), revisions_, &Revisions::List, request, response);
  }
  Reactor* GetRevision(Context* context, const task::v1::GetRevisionRequest* request,
                       task::v1::Revision* response) override {
    return gate_->Unary(context, Method("GetRevision"), revisions_, &Revisions::Get, request, response);
  }
  Reactor* GetTask(Context* context, const task::v1::GetTaskRequest* request, task::v1::Task* response) override {
    return gate_->Unary(context, Method("GetTask"), tasks_, &Tasks::Get, request, response);
  }
  Reactor* ListTasks(Context* context, const task::v1::ListTasksRequest* request,
                     task::v1::ListTasksResponse* response) override {
    return gate_->Unary(context, Method("ListTasks"), tasks_, &Tasks::List, request, response);
  }
  Reactor* PauseTask(Context* context, const task::v1::PauseTaskRequest* request, task::v1::Task* response) override {
    return gate_->Unary(context, Method("PauseTask"), tasks_, &Tasks::Pause, request, response);
  }
  Reactor* ResumeTask(Context* context, const task::v1::ResumeTaskRequest* request, task::v1::Task* response) override {
    return gate_->Unary(context, Method("ResumeTask"), tasks_, &Tasks::Resume, request, response);
  }
  Reactor* AdvanceTask(Context* context, const task::v1::AdvanceTaskRequest* request,
                       task::v1::Task* response) override {
    return gate_->Unary(context, Method("AdvanceTask"), tasks_, &Tasks::Advance, request, response);
  }
  Reactor* AbortTask(Context* context, const task::v1::AbortTaskRequest* request, task::v1::Task* response) override {
    return gate_->Unary(context, Method("AbortTask"), tasks_, &Tasks::Abort, request, response);
  }
  Reactor* DeleteTask(Context* context, const task::v1::DeleteTaskRequest* request,
                      task::v1::DeleteTaskResponse* response) override {
    return gate_->Unary(context, Method("DeleteTask"), tasks_, &Tasks::Delete, request, response);
  }
  Reactor* CreateJoinKey(Context* context, const task::v1::CreateJoinKeyRequest* request,
                         task::v1::CreateJoinKeyResponse* response) override {
    return gate_->Unary(context, Method("CreateJoinKey"), roster_, &Roster::CreateJoinKey, request, response);
  }
  Reactor* ListJoinKeys(Context* context, const task::v1::ListJoinKeysRequest* request,
                        task::v1::ListJoinKeysResponse* response) override {
    return gate_->Unary(context, Method("ListJoinKeys"), roster_, &Roster::ListJoinKeys, request, response);
  }
  Reactor* RevokeJoinKey(Context* context, const task::v1::RevokeJoinKeyRequest* request,
                         task::v1::JoinKey* response) override {
    return gate_->Unary(context, Method("RevokeJoinKey"), roster_, &Roster::RevokeJoinKey, request, response);
  }
  Reactor* ListParticipants(Context* context, const task::v1::ListParticipantsRequest* request,
                            task::v1::ListParticipantsResponse* response) override {
    return gate_->Unary(context, Method("ListParticipants"), roster_, &Roster::ListParticipants, request, response);
  }
  Reactor* GetParticipant(Context* context, const task::v1::GetParticipantRequest* request,
                          task::v1::Participant* response) override {
    return gate_->Unary(context, Method("GetParticipant"), roster_, &Roster::GetParticipant, request, response);
  }
  Reactor* ExplainParticipant(Context* context, const task::v1::ExplainParticipantRequest* request,
                              task::v1::ExplainParticipantResponse* response) override {
    return gate_->Unary(context, Method("ExplainParticipant"), roster_, &Roster::ExplainParticipant, request, response);
  }
  Reactor* RetryClients(Context* context, const task::v1::RetryClientsRequest* request,
                        task::v1::RetryClientsResponse* response) override {
    return gate_->Unary(context, Method("RetryClients"), roster_, &Roster::RetryClients, request, response);
  }
  Reactor* RevokeParticipant(Context* context, const task::v1::RevokeParticipantRequest* request,
                             task::v1::Participant* response) override {
    return gate_->Unary(context, Method("RevokeParticipant"), roster_, &Roster::RevokeParticipant, request, response);
  }
  Reactor* AwaitEndedKeys(Context* context, const task::v1::AwaitEndedKeysRequest* request,
                          task::v1::AwaitEndedKeysResponse* response) override {
    return gate_->Unary(context, Method("AwaitEndedKeys"), dependents_, &Dependents::AwaitEndedKeys, request, response);
  }
  WatchStream::Reactor* WatchTask(Context* context, const task::v1::WatchTaskRequest* request) override {
    return rpc::StartStream(*gate_, context, Method("WatchTask"), [&](const rpc::Caller& caller) {
      return std::make_shared<WatchStream>(parts_, tasks_, caller.flow(), *request);
    });
  }

  static std::string Method(absl::string_view name) { return absl::StrCat("parley.task.v1.TaskService.", name); }

  const rpc::Gate* const gate_;
  Tasks* const tasks_;
  const Revisions* const revisions_;
  Roster* const roster_;
  Dependents* const dependents_;
  const TaskdParts* const parts_;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_SERVICE_TASK_SERVICE_H_
