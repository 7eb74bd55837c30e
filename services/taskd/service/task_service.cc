#include "services/taskd/service/task_service.h"

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "lib/rpc/start_stream.h"

namespace parley::taskd {
namespace {

using grpc::ServerUnaryReactor;
using namespace task::v1;  // NOLINT: the whole API is adapted here.

std::string TaskMethod(absl::string_view name) { return absl::StrCat("parley.task.v1.TaskService.", name); }

}  // namespace

ServerUnaryReactor* TaskServiceAdapter::CreateTask(Context* context, const CreateTaskRequest* request,
                                                   CreateTaskResponse* response) {
  return gate_->Unary(context, TaskMethod("CreateTask"),
                      [=, this](const rpc::Caller& caller) { return tasks_->Create(caller, *request, response); });
}

ServerUnaryReactor* TaskServiceAdapter::PublishRevision(Context* context, const PublishRevisionRequest* request,
                                                        Task* response) {
  return gate_->Unary(context, TaskMethod("PublishRevision"),
                      [=, this](const rpc::Caller& caller) { return tasks_->Publish(caller, *request, response); });
}

ServerUnaryReactor* TaskServiceAdapter::GetTask(Context* context, const GetTaskRequest* request, Task* response) {
  return gate_->Unary(context, TaskMethod("GetTask"),
                      [=, this](const rpc::Caller&) { return tasks_->Get(request->name(), response); });
}

ServerUnaryReactor* TaskServiceAdapter::ListTasks(Context* context, const ListTasksRequest* request,
                                                  ListTasksResponse* response) {
  return gate_->Unary(context, TaskMethod("ListTasks"),
                      [=, this](const rpc::Caller&) { return tasks_->List(*request, response); });
}

ServerUnaryReactor* TaskServiceAdapter::PauseTask(Context* context, const PauseTaskRequest* request, Task* response) {
  return gate_->Unary(context, TaskMethod("PauseTask"),
                      [=, this](const rpc::Caller& caller) { return tasks_->Pause(caller, *request, response); });
}

ServerUnaryReactor* TaskServiceAdapter::ResumeTask(Context* context, const ResumeTaskRequest* request, Task* response) {
  return gate_->Unary(context, TaskMethod("ResumeTask"),
                      [=, this](const rpc::Caller& caller) { return tasks_->Resume(caller, *request, response); });
}

ServerUnaryReactor* TaskServiceAdapter::AbortTask(Context* context, const AbortTaskRequest* request, Task* response) {
  return gate_->Unary(context, TaskMethod("AbortTask"),
                      [=, this](const rpc::Caller& caller) { return tasks_->Abort(caller, *request, response); });
}

ServerUnaryReactor* TaskServiceAdapter::CreateJoinKey(Context* context, const CreateJoinKeyRequest* request,
                                                      CreateJoinKeyResponse* response) {
  return gate_->Unary(context, TaskMethod("CreateJoinKey"), [=, this](const rpc::Caller& caller) {
    return roster_->CreateJoinKey(caller, *request, response);
  });
}

ServerUnaryReactor* TaskServiceAdapter::ListJoinKeys(Context* context, const ListJoinKeysRequest* request,
                                                     ListJoinKeysResponse* response) {
  return gate_->Unary(context, TaskMethod("ListJoinKeys"),
                      [=, this](const rpc::Caller&) { return roster_->ListJoinKeys(*request, response); });
}

ServerUnaryReactor* TaskServiceAdapter::RevokeJoinKey(Context* context, const RevokeJoinKeyRequest* request,
                                                      JoinKey* response) {
  return gate_->Unary(context, TaskMethod("RevokeJoinKey"), [=, this](const rpc::Caller& caller) {
    return roster_->RevokeJoinKey(caller, *request, response);
  });
}

ServerUnaryReactor* TaskServiceAdapter::ListParticipants(Context* context, const ListParticipantsRequest* request,
                                                         ListParticipantsResponse* response) {
  return gate_->Unary(context, TaskMethod("ListParticipants"),
                      [=, this](const rpc::Caller&) { return roster_->ListParticipants(*request, response); });
}

ServerUnaryReactor* TaskServiceAdapter::GetParticipant(Context* context, const GetParticipantRequest* request,
                                                       Participant* response) {
  return gate_->Unary(context, TaskMethod("GetParticipant"),
                      [=, this](const rpc::Caller&) { return roster_->GetParticipant(request->name(), response); });
}

ServerUnaryReactor* TaskServiceAdapter::RetryClients(Context* context, const RetryClientsRequest* request,
                                                     RetryClientsResponse* response) {
  return gate_->Unary(context, TaskMethod("RetryClients"), [=, this](const rpc::Caller& caller) {
    return roster_->RetryClients(caller, *request, response);
  });
}

ServerUnaryReactor* TaskServiceAdapter::RevokeParticipant(Context* context, const RevokeParticipantRequest* request,
                                                          Participant* response) {
  return gate_->Unary(context, TaskMethod("RevokeParticipant"), [=, this](const rpc::Caller& caller) {
    return roster_->RevokeParticipant(caller, *request, response);
  });
}

ServerUnaryReactor* TaskServiceAdapter::AwaitEndedKeys(Context* context, const task::v1::AwaitEndedKeysRequest* request,
                                                       task::v1::AwaitEndedKeysResponse* response) {
  return gate_->Unary(context, TaskMethod("AwaitEndedKeys"),
                      [=, this](const rpc::Caller&) { return dependents_->AwaitEndedKeys(*request, response); });
}

grpc::ServerWriteReactor<WatchTaskResponse>* TaskServiceAdapter::WatchTask(Context* context,
                                                                           const WatchTaskRequest* request) {
  return rpc::StartStream(*gate_, context, TaskMethod("WatchTask"), [&](const rpc::Caller& caller) {
    return std::make_shared<WatchStream>(parts_, tasks_, caller.flow(), *request);
  });
}

}  // namespace parley::taskd
