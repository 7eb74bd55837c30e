// The gRPC side of ArtifactService: each RPC passes the gate, and becomes a call of what does it.
//
// Threads: gRPC calls the methods on any thread.
#ifndef PARLEY_SERVICES_TASKD_SERVICE_ARTIFACT_SERVICE_H_
#define PARLEY_SERVICES_TASKD_SERVICE_ARTIFACT_SERVICE_H_

#include "lib/rpc/gate.h"
#include "parley/task/v1/artifact_service.grpc.pb.h"
#include "services/taskd/artifacts/fetch_stream.h"

namespace parley::taskd {

// All parts must outlive the service.
class ArtifactServiceAdapter final : public task::v1::ArtifactService::CallbackService {
 public:
  ArtifactServiceAdapter(const rpc::Gate* gate, const TaskdParts* parts) : gate_(gate), parts_(parts) {}

 private:
  using Context = grpc::CallbackServerContext;

  grpc::ServerUnaryReactor* FindMissingChunks(Context*, const task::v1::FindMissingChunksRequest*,
                                              task::v1::FindMissingChunksResponse*) override;
  grpc::ServerReadReactor<task::v1::UploadChunksRequest>* UploadChunks(Context*,
                                                                       task::v1::UploadChunksResponse*) override;
  grpc::ServerWriteReactor<task::v1::FetchChunksResponse>* FetchChunks(Context*,
                                                                       const task::v1::FetchChunksRequest*) override;

  const rpc::Gate* const gate_;
  const TaskdParts* const parts_;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_SERVICE_ARTIFACT_SERVICE_H_
