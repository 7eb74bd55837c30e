#include "services/taskd/service/services.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/rpc/start_stream.h"
#include "services/taskd/domain/validation.h"
#include "services/taskd/service/upload_stream.h"

namespace parley::taskd {
namespace {

using grpc::ServerUnaryReactor;
using namespace task::v1;  // NOLINT: the whole API is adapted here.

std::string TaskMethod(absl::string_view name) { return absl::StrCat("parley.task.v1.TaskService.", name); }

std::string ArtifactMethod(absl::string_view name) { return absl::StrCat("parley.task.v1.ArtifactService.", name); }

std::string ParticipationMethod(absl::string_view name) {
  return absl::StrCat("parley.task.v1.ParticipationService.", name);
}

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
    return std::make_shared<WatchStream>(watch_, caller.flow(), *request);
  });
}

ServerUnaryReactor* ArtifactServiceAdapter::FindMissingChunks(Context* context, const FindMissingChunksRequest* request,
                                                              FindMissingChunksResponse* response) {
  return gate_->Unary(context, ArtifactMethod("FindMissingChunks"), [=, this](const rpc::Caller&) -> absl::Status {
    RETURN_IF_ERROR(ValidateFindMissing(*request));
    const std::vector<absl::string_view> digests(request->digests().begin(), request->digests().end());
    ASSIGN_OR_RETURN(std::vector<std::string> missing, chunks_->Missing(digests));
    for (std::string& digest : missing) response->add_missing(std::move(digest));
    return absl::OkStatus();
  });
}

grpc::ServerReadReactor<UploadChunksRequest>* ArtifactServiceAdapter::UploadChunks(Context* context,
                                                                                   UploadChunksResponse* response) {
  const auto caller = gate_->Admit(*context, ArtifactMethod("UploadChunks"));
  auto* const stream =
      new UploadStream(chunks_, gate_->workers(), caller.ok() ? *caller : rpc::Caller(), response);  // Deletes itself.
  if (caller.ok()) {
    stream->Begin();
  } else {
    stream->RefuseWith(caller.status());
  }
  return stream;
}

grpc::ServerWriteReactor<FetchChunksResponse>* ArtifactServiceAdapter::FetchChunks(Context* context,
                                                                                   const FetchChunksRequest* request) {
  return rpc::StartStream(*gate_, context, ArtifactMethod("FetchChunks"), [&](const rpc::Caller& caller) {
    return std::make_shared<FetchStream>(fetch_, caller, *request);
  });
}

ServerUnaryReactor* ParticipationServiceAdapter::Join(Context* context, const JoinRequest* request,
                                                      JoinResponse* response) {
  return gate_->Unary(context, ParticipationMethod("Join"),
                      [=, this](const rpc::Caller& caller) { return joining_->Join(caller, *request, response); });
}

grpc::ServerBidiReactor<NegotiateRequest, NegotiateResponse>* ParticipationServiceAdapter::Negotiate(Context* context) {
  return rpc::StartStream(*gate_, context, ParticipationMethod("Negotiate"), [&](const rpc::Caller& caller) {
    return std::make_shared<NegotiateStream>(negotiate_, caller);
  });
}

ServerUnaryReactor* ParticipationServiceAdapter::Confirm(Context* context, const ConfirmRequest* request,
                                                         ConfirmResponse* response) {
  return gate_->Unary(context, ParticipationMethod("Confirm"),
                      [=, this](const rpc::Caller& caller) { return DoConfirm(caller, *request, response); });
}

absl::Status ParticipationServiceAdapter::DoConfirm(const rpc::Caller& caller, const ConfirmRequest& request,
                                                    ConfirmResponse* response) const {
  RETURN_IF_ERROR(ValidateConfirm(request));
  ASSIGN_OR_RETURN(const Member member,
                   negotiate_->members->Identify(caller, ParticipationMethod("Confirm"), request.task()));
  ASSIGN_OR_RETURN(Standing standing, negotiate_->members->Load(caller, member));
  Event event{Event::Kind::kConfirm};
  event.confirm = &request;
  event.connection = caller.peer->connection_id;
  const auto decide = [&](const ParticipantRecord& record,
                          const TaskRecord& task) -> absl::StatusOr<std::optional<ParticipantRecord>> {
    RETURN_IF_ERROR(Members::CheckKey(caller, record));
    return Advance(record, event, task, negotiate_->clock->Now());
  };
  RETURN_IF_ERROR(negotiate_->standings->Update(member.task, member.client, &standing, decide).status());
  response->set_version(standing.participant().version());
  response->set_state(standing.participant().state());
  return absl::OkStatus();
}

grpc::ServerWriteReactor<WatchAssignmentsResponse>* ParticipationServiceAdapter::WatchAssignments(
    Context* context, const WatchAssignmentsRequest* request) {
  return rpc::StartStream(*gate_, context, ParticipationMethod("WatchAssignments"), [&](const rpc::Caller& caller) {
    return std::make_shared<AssignmentStream>(assignments_, caller, *request);
  });
}

}  // namespace parley::taskd
