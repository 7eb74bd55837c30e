// Takes chunks from an operator: the stream behind ArtifactService.UploadChunks.
//
// Each chunk is expanded and hashed before it is stored, so nothing is ever kept under a digest that it does not have.
// Several are stored by one commit; the count in the answer is of those that are durable.
//
// Threads: gRPC calls the reactor on any thread.
#ifndef PARLEY_SERVICES_TASKD_ARTIFACTS_UPLOAD_STREAM_H_
#define PARLEY_SERVICES_TASKD_ARTIFACTS_UPLOAD_STREAM_H_

#include <vector>

#include "absl/status/status.h"
#include "grpcpp/support/server_callback.h"
#include "lib/chunks/chunk_store.h"
#include "lib/rpc/gate.h"
#include "lib/rpc/worker_pool.h"
#include "parley/task/v1/artifact_service.pb.h"

namespace parley::taskd {

class UploadStream final : public grpc::ServerReadReactor<task::v1::UploadChunksRequest> {
 public:
  // `chunks` and `workers` must outlive this; the caller's call ends with it, and is null for one that is refused;
  // `response` is gRPC's. The stream deletes itself when gRPC is done with it.
  UploadStream(chunks::ChunkStore* chunks, rpc::WorkerPool* workers, rpc::Caller caller,
               task::v1::UploadChunksResponse* response);

  void Begin() { StartRead(&request_); }
  // Ends the stream, and may be called in place of Begin.
  void End(const absl::Status& status);

 private:
  void OnReadDone(bool ok) override;
  void OnDone() override { delete this; }

  absl::Status AcceptChunk();
  absl::Status Store();

  chunks::ChunkStore* const chunks_;
  rpc::WorkerPool* const workers_;
  const rpc::Caller caller_;
  task::v1::UploadChunksResponse* const response_;
  task::v1::UploadChunksRequest request_;
  std::vector<chunks::ChunkStore::Chunk> waiting_;
  size_t waiting_bytes_ = 0;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_ARTIFACTS_UPLOAD_STREAM_H_
