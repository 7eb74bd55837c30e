#include "services/taskd/artifacts/chunk_stream.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"

namespace parley::taskd {
namespace {

constexpr size_t kPieceBytes = 64 * 1024;
constexpr int kPiecesInATurn = 16;

}  // namespace

ChunkStream::ChunkStream(const TaskdParts* parts, rpc::Caller caller, Chunks chunks)
    : parts_(parts), caller_(std::move(caller)), chunks_(std::move(chunks)) {}

void ChunkStream::Begin() {
  parts_->workers->Run(caller_.flow(), [self = self()] {
    // The client may have gone while this waited.
    if (self->closed()) return;
    if (const absl::Status status = self->Start(); !status.ok()) return self->Close(status);
    self->Next();
  });
}

absl::Status ChunkStream::CheckChunksOf(const Revision& revision, int64_t number) const {
  for (const auto& chunk : chunks_) {
    if (!std::binary_search(revision.chunks.begin(), revision.chunks.end(), chunk.digest())) {
      return Error(absl::StatusCode::kNotFound, "CHUNK_NOT_OF_REVISION",
                   absl::StrCat("chunk ", HexEncode(chunk.digest()), " is not of revision ", number));
    }
  }
  return absl::OkStatus();
}

// Whoever has sent a piece sends the next one, and is given up now and then so that others have their turn.
void ChunkStream::OnSent() {
  if (++sent_pieces_ % kPiecesInATurn != 0) return Next();
  parts_->workers->Run(caller_.flow(), [self = self()] { self->Next(); });
}

void ChunkStream::Next() {
  if (frame_ != nullptr) return SendPiece();
  if (const absl::Status status = CheckBeforeChunk(); !status.ok()) return Close(status);
  if (auto cached = parts_->chunks->Cached(chunks_[next_chunk_].digest())) {
    if (const absl::Status status = SendFrame(std::move(cached)); !status.ok()) return Close(status);
    return SendPiece();
  }
  parts_->workers->Run(caller_.flow(), [self = self()] {
    if (const absl::Status status = self->Load(); !status.ok()) return self->Close(status);
    self->SendPiece();
  });
}

absl::Status ChunkStream::Load() {
  ASSIGN_OR_RETURN(auto frame, parts_->chunks->Get(chunks_[next_chunk_].digest()));
  return SendFrame(std::move(frame));
}

absl::Status ChunkStream::SendFrame(std::shared_ptr<const std::string> frame) {
  const int64_t offset = chunks_[next_chunk_].offset();
  if (offset >= static_cast<int64_t>(frame->size())) {
    return Error(absl::StatusCode::kOutOfRange, "OFFSET_OUT_OF_RANGE",
                 absl::StrCat("chunk ", HexEncode(chunks_[next_chunk_].digest()), " has ", frame->size(), " bytes; ",
                              offset, " is not one of them"));
  }
  frame_ = std::move(frame);
  offset_ = static_cast<size_t>(offset);
  return absl::OkStatus();
}

void ChunkStream::SendPiece() {
  task::v1::FetchChunksResponse piece;
  piece.set_digest(chunks_[next_chunk_].digest());
  piece.set_offset(static_cast<int64_t>(offset_));
  piece.set_frame_size(static_cast<int64_t>(frame_->size()));
  const size_t size = std::min(kPieceBytes, frame_->size() - offset_);
  piece.set_data(frame_->data() + offset_, size);
  offset_ += size;
  if (offset_ == frame_->size()) {
    frame_ = nullptr;
    ++next_chunk_;
    OnChunkSent();
  }
  if (next_chunk_ == chunks_.size()) {
    SendLast(std::move(piece));
  } else {
    Send(std::move(piece));
  }
}

}  // namespace parley::taskd
