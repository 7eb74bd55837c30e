#include "services/taskd/artifacts/fetch_stream.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/proto_time.h"
#include "lib/task/states.h"
#include "services/taskd/domain/participant.h"
#include "services/taskd/domain/reasons.h"
#include "services/taskd/domain/selection.h"
#include "services/taskd/domain/validation.h"
#include "services/taskd/participants/device_labels.h"

namespace parley::taskd {
namespace {

constexpr absl::string_view kMethod = "parley.task.v1.ArtifactService.FetchChunks";
constexpr size_t kPieceBytes = 64 * 1024;
constexpr int kPiecesInATurn = 16;

}  // namespace

FetchStream::FetchStream(const TaskdParts* parts, rpc::Caller caller, const task::v1::FetchChunksRequest& request)
    : parts_(parts), caller_(std::move(caller)), request_(request) {}

void FetchStream::Begin() {
  parts_->workers->Run(caller_.flow(), [self = self()] {
    // The client may have gone while this waited.
    if (self->closed()) return;
    if (const absl::Status status = self->Start(); !status.ok()) return self->Close(status);
    self->Next();
  });
}

absl::Status FetchStream::Start() {
  RETURN_IF_ERROR(ValidateFetch(request_));
  ASSIGN_OR_RETURN(member_, parts_->callers->Identify(caller_, kMethod, request_.task()));
  const auto check_accepted = [this](const ParticipantSnapshot& snapshot) {
    return CheckAccepted(snapshot.participant());
  };
  ASSIGN_OR_RETURN(snapshot_, parts_->callers->Load(caller_, member_, check_accepted));
  ASSIGN_OR_RETURN(const auto revision, parts_->manifests->Get(member_.task, request_.revision()));
  for (const auto& chunk : request_.chunks()) {
    if (!std::binary_search(revision->chunks.begin(), revision->chunks.end(), chunk.digest())) {
      return Error(absl::StatusCode::kNotFound, "CHUNK_NOT_OF_REVISION",
                   absl::StrCat("chunk ", HexEncode(chunk.digest()), " is not of revision ", request_.revision()));
    }
  }
  transfer_lease_ = ToDuration(snapshot_.task->value.task().leases().transfer());
  return absl::OkStatus();
}

absl::Status FetchStream::CheckAccepted(const task::v1::Participant& participant) const {
  if (!task::MayFetch(participant)) {
    return Error(absl::StatusCode::kFailedPrecondition, "NOTHING_ACCEPTED",
                 "chunks are for a client that has accepted an offer; negotiate first");
  }
  if (request_.revision() != participant.revision()) {
    return Error(
        absl::StatusCode::kFailedPrecondition, "REVISION_NOT_OFFERED",
        absl::StrCat("revision ", participant.revision(), " is the one that was accepted, not ", request_.revision()));
  }
  return absl::OkStatus();
}

// What it has begun to apply, a device carries to its end.
absl::Status FetchStream::CheckStillSelected() const {
  if (task::IsApplying(task::Place(snapshot_.participant()))) return absl::OkStatus();
  const auto labels = parts_->labels->Find(member_.client);
  return CheckSelected(Select(snapshot_.client.value, snapshot_.task->value.task(), labels.get()),
                       Error(absl::StatusCode::kFailedPrecondition, "NOT_SELECTED", ExplainReason(kReasonNotSelected)));
}

// Whoever has sent a piece sends the next one, and is given up now and then so that others have their turn.
void FetchStream::OnSent() {
  if (++sent_pieces_ % kPiecesInATurn != 0) return Next();
  parts_->workers->Run(caller_.flow(), [self = self()] { self->Next(); });
}

void FetchStream::Next() {
  if (frame_ != nullptr) return SendPiece();
  // Before each chunk, so that nothing more goes to a device whose labels are taken away.
  if (const absl::Status status = CheckStillSelected(); !status.ok()) return Close(status);
  if (auto cached = parts_->chunks->Cached(request_.chunks(next_chunk_).digest())) {
    if (const absl::Status status = SendFrame(std::move(cached)); !status.ok()) return Close(status);
    return SendPiece();
  }
  parts_->workers->Run(caller_.flow(), [self = self()] {
    if (const absl::Status status = self->Load(); !status.ok()) return self->Close(status);
    self->SendPiece();
  });
}

absl::Status FetchStream::Load() {
  ASSIGN_OR_RETURN(auto frame, parts_->chunks->Get(request_.chunks(next_chunk_).digest()));
  return SendFrame(std::move(frame));
}

absl::Status FetchStream::SendFrame(std::shared_ptr<const std::string> frame) {
  const int64_t offset = request_.chunks(next_chunk_).offset();
  if (offset >= static_cast<int64_t>(frame->size())) {
    return Error(absl::StatusCode::kOutOfRange, "OFFSET_OUT_OF_RANGE",
                 absl::StrCat("chunk ", HexEncode(request_.chunks(next_chunk_).digest()), " has ", frame->size(),
                              " bytes; ", offset, " is not one of them"));
  }
  frame_ = std::move(frame);
  offset_ = static_cast<size_t>(offset);
  return absl::OkStatus();
}

// The client's session may be with another replica, or will be when this one ends.
void FetchStream::StoreLease() const {
  const absl::Status stored = parts_->updater->RenewTransfer(member_.task, member_.client, request_.revision());
  if (!stored.ok()) LogWarning("a lease could not be renewed", {{"error", std::string(stored.message())}});
}

void FetchStream::SendPiece() {
  task::v1::FetchChunksResponse piece;
  piece.set_digest(request_.chunks(next_chunk_).digest());
  piece.set_offset(static_cast<int64_t>(offset_));
  piece.set_frame_size(static_cast<int64_t>(frame_->size()));
  const size_t size = std::min(kPieceBytes, frame_->size() - offset_);
  piece.set_data(frame_->data() + offset_, size);
  offset_ += size;
  if (offset_ == frame_->size()) {
    frame_ = nullptr;
    ++next_chunk_;
    if (parts_->task_index->RenewLease(member_.task, member_.client, parts_->clock->Now() + transfer_lease_)) {
      parts_->workers->Run(caller_.flow(), [self = self()] { self->StoreLease(); });
    }
  }
  if (next_chunk_ == request_.chunks_size()) {
    SendLast(std::move(piece));
  } else {
    Send(std::move(piece));
  }
}

}  // namespace parley::taskd
