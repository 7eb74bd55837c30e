#include "clients/agent/transfer.h"

#include "clients/agent/faults.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "lib/base/error.h"
#include "parley/task/v1/artifact_service.grpc.pb.h"

namespace parley::agent {
namespace {

using task::v1::Participant;

constexpr absl::Duration kReportEvery = absl::Seconds(5);
constexpr absl::Duration kShowEvery = absl::Milliseconds(100);

absl::Status Interrupted() {
  return Error(absl::StatusCode::kAborted, "INTERRUPTED", "the server has something else to say");
}

// What a server says of chunks that it does not have, or does not give.
bool IsAboutTheSet(const absl::Status& status) {
  const std::string reason = Reason(status);
  return reason == "CHUNK_NOT_FOUND" || reason == "CHUNK_NOT_OF_REVISION" || reason == "CHUNK_UNKNOWN" ||
         reason == "REVISION_NOT_FOUND" || reason == "CHUNKS_MISSING";
}

}  // namespace

Transfer::Transfer(const Announcer* announce, Cancellation* cancellation, Negotiation* negotiation,
                   const task::v1::Manifest* manifest, ChunkCache* store)
    : announce_(*announce),
      cancellation_(cancellation),
      negotiation_(negotiation),
      manifest_(*manifest),
      download_(manifest, store),
      reported_(SteadyTime()) {}

absl::Status Transfer::OnProgress(const DownloadCounts& counts) {
  const absl::Duration now = SteadyTime();
  if (now - shown_ >= kShowEvery) {
    shown_ = now;
    announce_(event::Progress{manifest_.task(), counts.done_bytes, counts.total_bytes});
  }
  if (now - reported_ < kReportEvery) return absl::OkStatus();
  reported_ = now;
  if (negotiation_->current().state() != Participant::STATE_TRANSFERRING) return absl::OkStatus();
  const auto reported =
      negotiation_->Report({.state = Participant::STATE_TRANSFERRING, .transferred_bytes = counts.received_bytes});
  return reported.ok() && *reported ? absl::OkStatus() : Interrupted();
}

absl::StatusOr<bool> Transfer::FetchOnce() {
  const auto stub = task::v1::ArtifactService::NewStub(negotiation_->channel().grpc());
  grpc::ClientContext context;
  const Cancellation::Listener on_cancel(cancellation_, [&context] { context.TryCancel(); });
  negotiation_->SetInterrupt([&context] { context.TryCancel(); });
  bool server_said_so = false;
  const absl::Status status = download_.Fetch(
      stub.get(), &context, [this](const DownloadCounts& counts) { return OnProgress(counts); },
      [&](const grpc::Status& said) {
        server_said_so = true;
        return Explain(negotiation_->channel(), said);
      });
  negotiation_->SetInterrupt(nullptr);
  if (cancellation_->cancelled()) return Stopped();
  if (Reason(status) == "INTERRUPTED") return false;
  if (status.ok() || negotiation_->interrupted()) return true;
  if (server_said_so && status.code() == absl::StatusCode::kOutOfRange && !offsets_refused_) {
    offsets_refused_ = true;
    download_.DropParts();
    return true;
  }
  if (server_said_so && !IsAboutTheSet(status)) return status;
  failure_ = status;
  return false;
}

absl::Status Transfer::Run(const std::string& target, const std::vector<std::string>& installed_paths) {
  failure_ = download_.ReuseFromTarget(target, installed_paths);
  if (!failure_.ok()) return absl::OkStatus();
  bool more = true;
  while (more && !download_.complete() && !negotiation_->interrupted()) {
    ASSIGN_OR_RETURN(more, FetchOnce());
  }
  if (!download_.complete() || !failure_.ok()) return absl::OkStatus();
  const DownloadCounts& counts = download_.counts();
  announce_(event::Progress{manifest_.task(), counts.done_bytes, counts.total_bytes});
  announce_(event::Fetched{manifest_.task(), counts.received_bytes, counts.reused_bytes});
  if (negotiation_->current().state() != Participant::STATE_TRANSFERRING) return absl::OkStatus();
  return negotiation_->Report({.state = Participant::STATE_TRANSFERRING, .transferred_bytes = counts.received_bytes})
      .status();
}

}  // namespace parley::agent
