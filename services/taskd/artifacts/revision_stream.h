// Sends chunks of any revision of a task to an operator: the stream behind ArtifactService.FetchRevisionChunks.
//
// Threads: those of ChunkStream.
#ifndef PARLEY_SERVICES_TASKD_ARTIFACTS_REVISION_STREAM_H_
#define PARLEY_SERVICES_TASKD_ARTIFACTS_REVISION_STREAM_H_

#include <string>

#include "parley/task/v1/artifact_service.pb.h"
#include "services/taskd/artifacts/chunk_stream.h"
#include "services/taskd/participants/parts.h"

namespace parley::taskd {

class RevisionStream final : public ChunkStream {
 public:
  // `parts` must outlive this.
  RevisionStream(const TaskdParts* parts, rpc::Caller caller, const task::v1::FetchRevisionChunksRequest& request);

 private:
  absl::Status Start() override;

  const std::string name_;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_ARTIFACTS_REVISION_STREAM_H_
