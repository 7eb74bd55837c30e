// Sends chunks to a client, piece by piece, from the byte asked for: the stream behind ArtifactService.FetchChunks.
//
// Threads: gRPC calls the reactor on any thread; OutStream's methods may be called from any thread.
#ifndef PARLEY_SERVICES_TASKD_ARTIFACTS_FETCH_STREAM_H_
#define PARLEY_SERVICES_TASKD_ARTIFACTS_FETCH_STREAM_H_

#include <memory>
#include <string>

#include "lib/rpc/out_stream.h"
#include "parley/task/v1/artifact_service.pb.h"
#include "services/taskd/participants/parts.h"

namespace parley::taskd {

class FetchStream final
    : public rpc::OutStream<grpc::ServerWriteReactor<task::v1::FetchChunksResponse>, task::v1::FetchChunksResponse> {
 public:
  // `parts` must outlive this.
  FetchStream(const TaskdParts* parts, rpc::Caller caller, const task::v1::FetchChunksRequest& request);

  void Begin();

 private:
  void OnSent() override;
  std::shared_ptr<FetchStream> self() { return std::static_pointer_cast<FetchStream>(shared_from_this()); }

  absl::Status Start();
  // Returns FAILED_PRECONDITION (NOTHING_ACCEPTED, REVISION_NOT_OFFERED).
  absl::Status CheckAccepted(const task::v1::Participant& participant) const;
  absl::Status CheckStillSelected() const;
  // Sends the next piece: at once if the chunk is in memory, or else after a worker has read it.
  void Next();
  absl::Status Load();
  absl::Status SendFrame(std::shared_ptr<const std::string> frame);
  void SendPiece();
  void StoreLease() const;

  const TaskdParts* const parts_;
  const rpc::Caller caller_;
  const task::v1::FetchChunksRequest request_;
  // Only whoever sends the next piece touches these.
  Member member_;
  ParticipantSnapshot snapshot_;
  absl::Duration transfer_lease_;
  int next_chunk_ = 0;
  std::shared_ptr<const std::string> frame_;
  size_t offset_ = 0;
  int sent_pieces_ = 0;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_ARTIFACTS_FETCH_STREAM_H_
