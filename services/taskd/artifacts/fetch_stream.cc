#include "services/taskd/artifacts/fetch_stream.h"

#include <utility>

#include "absl/strings/str_cat.h"
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

}  // namespace

FetchStream::FetchStream(const TaskdParts* parts, rpc::Caller caller, const task::v1::FetchChunksRequest& request)
    : ChunkStream(parts, std::move(caller), request.chunks()), task_(request.task()), revision_(request.revision()) {}

absl::Status FetchStream::Start() {
  RETURN_IF_ERROR(ValidateFetch(chunks()));
  ASSIGN_OR_RETURN(member_, parts()->callers->Identify(caller(), kMethod, task_));
  const auto check_accepted = [this](const ParticipantSnapshot& snapshot) {
    return CheckAccepted(snapshot.participant());
  };
  ASSIGN_OR_RETURN(snapshot_, parts()->callers->Load(caller(), member_, check_accepted));
  ASSIGN_OR_RETURN(const auto revision, parts()->manifests->Get(member_.task, revision_));
  RETURN_IF_ERROR(CheckChunksOf(*revision, revision_));
  transfer_lease_ = ToDuration(snapshot_.task->value.task().leases().transfer());
  return absl::OkStatus();
}

absl::Status FetchStream::CheckAccepted(const task::v1::Participant& participant) const {
  if (!task::MayFetch(participant)) {
    return Error(absl::StatusCode::kFailedPrecondition, "NOTHING_ACCEPTED",
                 "chunks are for a client that has accepted an offer; negotiate first");
  }
  if (revision_ != participant.revision()) {
    return Error(absl::StatusCode::kFailedPrecondition, "REVISION_NOT_OFFERED",
                 absl::StrCat("revision ", participant.revision(), " is the one that was accepted, not ", revision_));
  }
  return absl::OkStatus();
}

// Nothing more goes to a device whose labels are taken away. What it has begun to apply, it carries to its end.
absl::Status FetchStream::CheckBeforeChunk() {
  if (task::IsApplying(task::Place(snapshot_.participant()))) return absl::OkStatus();
  const auto labels = parts()->labels->Find(member_.client);
  return CheckSelected(Select(snapshot_.client.value, snapshot_.task->value.task(), labels.get()),
                       Error(absl::StatusCode::kFailedPrecondition, "NOT_SELECTED", ExplainReason(kReasonNotSelected)));
}

// The client's session may be with another replica, or will be when this one ends.
void FetchStream::StoreLease() const {
  const absl::Status stored = parts()->updater->RenewTransfer(member_.task, member_.client, revision_);
  if (!stored.ok()) LogWarning("a lease could not be renewed", {{"error", std::string(stored.message())}});
}

void FetchStream::OnChunkSent() {
  if (parts()->task_index->RenewLease(member_.task, member_.client, parts()->clock->Now() + transfer_lease_)) {
    parts()->workers->Run(caller().flow(), [self = self()] { self->StoreLease(); });
  }
}

}  // namespace parley::taskd
