#include "services/taskd/artifacts/upload_stream.h"

#include <utility>

#include "lib/base/error.h"
#include "lib/payload/chunk.h"
#include "lib/transport/grpc_status.h"

namespace parley::taskd {
namespace {

constexpr size_t kCommitBytes = 800'000;

}  // namespace

UploadStream::UploadStream(chunks::ChunkStore* chunks, rpc::WorkerPool* workers, rpc::Caller caller,
                           task::v1::UploadChunksResponse* response)
    : chunks_(chunks), workers_(workers), caller_(std::move(caller)), response_(response) {}

void UploadStream::End(const absl::Status& status) {
  if (caller_.call != nullptr) caller_.call->End(status);
  Finish(transport::ToGrpc(status));
}

// One read, one piece of work: never both at once, so nothing here is shared.
void UploadStream::OnReadDone(bool ok) {
  workers_->Run(caller_.flow(), [this, ok] {
    const absl::Status status = ok ? AcceptChunk() : Store();
    if (!ok || !status.ok()) return End(status);
    StartRead(&request_);
  });
}

absl::Status UploadStream::AcceptChunk() {
  RETURN_IF_ERROR(payload::ExpandChunk(request_.zstd(), request_.digest()).status());
  waiting_bytes_ += request_.zstd().size();
  waiting_.push_back({std::move(*request_.mutable_digest()), std::move(*request_.mutable_zstd())});
  return waiting_bytes_ < kCommitBytes ? absl::OkStatus() : Store();
}

absl::Status UploadStream::Store() {
  const int count = static_cast<int>(waiting_.size());
  RETURN_IF_ERROR(chunks_->Put(std::move(waiting_)));
  waiting_.clear();
  waiting_bytes_ = 0;
  response_->set_chunks(response_->chunks() + count);
  return absl::OkStatus();
}

}  // namespace parley::taskd
