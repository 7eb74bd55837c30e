// The gRPC side of ArtifactService: each RPC passes the gate, and becomes a call of what does it.
//
// Threads: gRPC calls the methods on any thread.
#ifndef PARLEY_SERVICES_TASKD_SERVICE_ARTIFACT_SERVICE_H_
#define PARLEY_SERVICES_TASKD_SERVICE_ARTIFACT_SERVICE_H_

#include <memory>

#include "lib/rpc/start_stream.h"
#include "parley/task/v1/artifact_service.grpc.pb.h"
#include "services/taskd/artifacts/fetch_stream.h"
#include "services/taskd/artifacts/payloads.h"
#include "services/taskd/artifacts/revision_stream.h"
#include "services/taskd/artifacts/upload_stream.h"

namespace parley::taskd {

// All parts must outlive the service.
class ArtifactServiceAdapter final : public task::v1::ArtifactService::CallbackService {
 public:
  ArtifactServiceAdapter(const rpc::Gate* gate, const TaskdParts* parts) : gate_(gate), parts_(parts) {}

 private:
  using Context = grpc::CallbackServerContext;

  grpc::ServerUnaryReactor* FindMissingChunks(Context* context, const task::v1::FindMissingChunksRequest* request,
                                              task::v1::FindMissingChunksResponse* response) override {
    return gate_->Unary(context, "parley.task.v1.ArtifactService.FindMissingChunks", [=, this](const rpc::Caller&) {
      return taskd::FindMissingChunks(parts_->chunks, *request, response);
    });
  }
  grpc::ServerReadReactor<task::v1::UploadChunksRequest>* UploadChunks(
      Context* context, task::v1::UploadChunksResponse* response) override {
    const auto caller = gate_->Admit(*context, "parley.task.v1.ArtifactService.UploadChunks");
    auto* const stream = new UploadStream(parts_->chunks, gate_->workers(), caller.value_or(rpc::Caller()), response);
    if (caller.ok()) {
      stream->Begin();
    } else {
      stream->End(caller.status());
    }
    return stream;  // It deletes itself.
  }
  FetchStream::Reactor* FetchChunks(Context* context, const task::v1::FetchChunksRequest* request) override {
    return rpc::StartStream(
        *gate_, context, "parley.task.v1.ArtifactService.FetchChunks",
        [&](const rpc::Caller& caller) { return std::make_shared<FetchStream>(parts_, caller, *request); });
  }
  RevisionStream::Reactor* FetchRevisionChunks(Context* context,
                                               const task::v1::FetchRevisionChunksRequest* request) override {
    return rpc::StartStream(
        *gate_, context, "parley.task.v1.ArtifactService.FetchRevisionChunks",
        [&](const rpc::Caller& caller) { return std::make_shared<RevisionStream>(parts_, caller, *request); });
  }

  const rpc::Gate* const gate_;
  const TaskdParts* const parts_;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_SERVICE_ARTIFACT_SERVICE_H_
