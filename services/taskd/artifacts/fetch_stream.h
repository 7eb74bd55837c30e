// Sends chunks of the revision on offer to a client: the stream behind ArtifactService.FetchChunks.
//
// Threads: those of ChunkStream.
#ifndef PARLEY_SERVICES_TASKD_ARTIFACTS_FETCH_STREAM_H_
#define PARLEY_SERVICES_TASKD_ARTIFACTS_FETCH_STREAM_H_

#include <cstdint>
#include <memory>
#include <string>

#include "parley/task/v1/artifact_service.pb.h"
#include "services/taskd/artifacts/chunk_stream.h"
#include "services/taskd/participants/parts.h"

namespace parley::taskd {

class FetchStream final : public ChunkStream {
 public:
  // `parts` must outlive this.
  FetchStream(const TaskdParts* parts, rpc::Caller caller, const task::v1::FetchChunksRequest& request);

 private:
  absl::Status Start() override;
  absl::Status CheckBeforeChunk() override;
  void OnChunkSent() override;
  std::shared_ptr<FetchStream> self() { return std::static_pointer_cast<FetchStream>(shared_from_this()); }

  // Returns FAILED_PRECONDITION (NOTHING_ACCEPTED, REVISION_NOT_OFFERED).
  absl::Status CheckAccepted(const task::v1::Participant& participant) const;
  void StoreLease() const;

  const std::string task_;
  const int64_t revision_;
  // Only whoever sends the next piece touches these.
  Member member_;
  ParticipantSnapshot snapshot_;
  absl::Duration transfer_lease_;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_ARTIFACTS_FETCH_STREAM_H_
