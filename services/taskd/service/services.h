// The three services as gRPC sees them: each RPC passes the gate, and then is a call of what does it.
#ifndef PARLEY_SERVICES_TASKD_SERVICE_SERVICES_H_
#define PARLEY_SERVICES_TASKD_SERVICE_SERVICES_H_

#include "lib/rpc/gate.h"
#include "parley/task/v1/artifact_service.grpc.pb.h"
#include "parley/task/v1/participation_service.grpc.pb.h"
#include "parley/task/v1/task_service.grpc.pb.h"
#include "services/taskd/service/assignments.h"
#include "services/taskd/service/dependents.h"
#include "services/taskd/service/fetch_stream.h"
#include "services/taskd/service/joining.h"
#include "services/taskd/service/negotiate_stream.h"
#include "services/taskd/service/roster.h"
#include "services/taskd/service/tasks.h"
#include "services/taskd/service/watch_stream.h"

namespace parley::taskd {

// All parts must outlive the service.
class TaskServiceAdapter final : public task::v1::TaskService::CallbackService {
 public:
  TaskServiceAdapter(const rpc::Gate* gate, Tasks* tasks, Roster* roster, Dependents* dependents,
                     const WatchStream::Parts* watch)
      : gate_(gate), tasks_(tasks), roster_(roster), dependents_(dependents), watch_(watch) {}

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
  const WatchStream::Parts* const watch_;
};

class ArtifactServiceAdapter final : public task::v1::ArtifactService::CallbackService {
 public:
  ArtifactServiceAdapter(const rpc::Gate* gate, ChunkStore* chunks, const FetchStream::Parts* fetch)
      : gate_(gate), chunks_(chunks), fetch_(fetch) {}

 private:
  using Context = grpc::CallbackServerContext;

  grpc::ServerUnaryReactor* FindMissingChunks(Context*, const task::v1::FindMissingChunksRequest*,
                                              task::v1::FindMissingChunksResponse*) override;
  grpc::ServerReadReactor<task::v1::UploadChunksRequest>* UploadChunks(Context*,
                                                                       task::v1::UploadChunksResponse*) override;
  grpc::ServerWriteReactor<task::v1::FetchChunksResponse>* FetchChunks(Context*,
                                                                       const task::v1::FetchChunksRequest*) override;

  const rpc::Gate* const gate_;
  ChunkStore* const chunks_;
  const FetchStream::Parts* const fetch_;
};

class ParticipationServiceAdapter final : public task::v1::ParticipationService::CallbackService {
 public:
  ParticipationServiceAdapter(const rpc::Gate* gate, Joining* joining, Assignments* assignments,
                              const NegotiateStream::Parts* negotiate)
      : gate_(gate), joining_(joining), assignments_(assignments), negotiate_(negotiate) {}

 private:
  using Context = grpc::CallbackServerContext;

  grpc::ServerUnaryReactor* Join(Context*, const task::v1::JoinRequest*, task::v1::JoinResponse*) override;
  grpc::ServerBidiReactor<task::v1::NegotiateRequest, task::v1::NegotiateResponse>* Negotiate(Context*) override;
  grpc::ServerUnaryReactor* Confirm(Context*, const task::v1::ConfirmRequest*, task::v1::ConfirmResponse*) override;
  grpc::ServerWriteReactor<task::v1::WatchAssignmentsResponse>* WatchAssignments(
      Context*, const task::v1::WatchAssignmentsRequest*) override;

  absl::Status DoConfirm(const rpc::Caller& caller, const task::v1::ConfirmRequest& request,
                         task::v1::ConfirmResponse* response) const;

  const rpc::Gate* const gate_;
  Joining* const joining_;
  Assignments* const assignments_;
  const NegotiateStream::Parts* const negotiate_;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_SERVICE_SERVICES_H_
