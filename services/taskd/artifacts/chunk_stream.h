// Sends chunks piece by piece, each from the byte asked for; who may have which says the class for the RPC.
//
// Threads: gRPC calls the reactor on any thread; OutStream's methods may be called from any thread. What a class for an
// RPC overrides is called by whoever sends the next piece, one call at a time.
#ifndef PARLEY_SERVICES_TASKD_ARTIFACTS_CHUNK_STREAM_H_
#define PARLEY_SERVICES_TASKD_ARTIFACTS_CHUNK_STREAM_H_

#include <cstdint>
#include <memory>
#include <string>

#include "lib/rpc/out_stream.h"
#include "parley/task/v1/artifact_service.pb.h"
#include "services/taskd/participants/parts.h"

namespace parley::taskd {

class ChunkStream
    : public rpc::OutStream<grpc::ServerWriteReactor<task::v1::FetchChunksResponse>, task::v1::FetchChunksResponse> {
 public:
  using Chunks = google::protobuf::RepeatedPtrField<task::v1::FetchChunksRequest::Chunk>;

  void Begin();

 protected:
  // `parts` must outlive this.
  ChunkStream(const TaskdParts* parts, rpc::Caller caller, Chunks chunks);

  // Comes first, and may block. An error ends the stream before anything is sent.
  virtual absl::Status Start() = 0;
  // Comes before each chunk, and does not block. An error ends the stream.
  virtual absl::Status CheckBeforeChunk() { return absl::OkStatus(); }
  // Follows each chunk, and does not block.
  virtual void OnChunkSent() {}

  // Returns NOT_FOUND (CHUNK_NOT_OF_REVISION) if one of the chunks is not of the revision.
  absl::Status CheckChunksOf(const Revision& revision, int64_t number) const;

  const TaskdParts* parts() const { return parts_; }
  const rpc::Caller& caller() const { return caller_; }
  const Chunks& chunks() const { return chunks_; }

 private:
  void OnSent() override;
  std::shared_ptr<ChunkStream> self() { return std::static_pointer_cast<ChunkStream>(shared_from_this()); }

  // Sends the next piece: at once if the chunk is in memory, or else after a worker has read it.
  void Next();
  absl::Status Load();
  absl::Status SendFrame(std::shared_ptr<const std::string> frame);
  void SendPiece();

  const TaskdParts* const parts_;
  const rpc::Caller caller_;
  const Chunks chunks_;
  // Only whoever sends the next piece touches these.
  int next_chunk_ = 0;
  std::shared_ptr<const std::string> frame_;
  size_t offset_ = 0;
  int sent_pieces_ = 0;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_ARTIFACTS_CHUNK_STREAM_H_
