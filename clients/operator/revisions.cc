#include "clients/operator/revisions.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "clients/operator/ids.h"
#include "lib/base/error.h"
#include "lib/payload/manifest.h"
#include "parley/task/v1/artifact_service.grpc.pb.h"
#include "parley/task/v1/task_service.grpc.pb.h"

namespace parley::ops {
namespace {

using task::v1::ArtifactService;
using task::v1::FetchChunksResponse;
using task::v1::FileEntry;
using task::v1::TaskService;

constexpr absl::string_view kDoNotTrust = "; do not trust that server before somebody has looked at it";

std::string RevisionName(const std::string& task, int64_t revision) {
  return absl::StrCat(task, "/revisions/", revision);
}

}  // namespace

absl::Status ContentGone(const std::string& task, int64_t revision) {
  return Error(absl::StatusCode::kDataLoss, "CONTENT_GONE",
               absl::StrCat("the server has no more all content of r", revision, " of ", TaskId(task),
                            "; publish its files anew, with: parley task publish ", TaskId(task), " --payload FOLDER"));
}

absl::StatusOr<task::v1::Task> GetTask(const Connection& server, const std::string& task) {
  task::v1::GetTaskRequest request;
  request.set_name(task);
  return server.Call<TaskService>(&TaskService::Stub::GetTask, request);
}

absl::StatusOr<ReadRevision> RevisionReader::Get(int64_t revision) const {
  ReadRevision read;
  std::string verification_key;
  const absl::StatusOr<crypto::SigningKey> own = keys_.Load(TaskId(task_));
  if (own.ok()) {
    read.witness = ManifestWitness::kOwnKey;
    verification_key = own->verification_key();
  } else if (absl::IsNotFound(own.status())) {
    ASSIGN_OR_RETURN(const task::v1::Task told, GetTask());
    read.witness = told.server_signed() ? ManifestWitness::kSigningServer : ManifestWitness::kServersWord;
    verification_key = told.verification_key();
  } else {
    return own.status();
  }
  task::v1::GetRevisionRequest request;
  request.set_name(RevisionName(task_, revision));
  ASSIGN_OR_RETURN(read.revision, server_->Call<TaskService>(&TaskService::Stub::GetRevision, request));
  // Whether it may still be installed is for clients to ask.
  absl::StatusOr<task::v1::Manifest> manifest =
      payload::VerifyManifest(read.revision.signed_manifest(), verification_key, task_, /*now=*/absl::InfinitePast());
  if (Reason(manifest.status()) == "MANIFEST_SIGNATURE") {
    return Error(absl::StatusCode::kDataLoss, "MANIFEST_SIGNATURE",
                 absl::StrCat("what the server sent for r", revision, " of ", TaskId(task_),
                              " is not signed by the task's key", kDoNotTrust));
  }
  if (!manifest.ok()) return Annotate(manifest.status(), absl::StrCat("r", revision, " of ", TaskId(task_)));
  if (manifest->revision() != revision) {
    return Error(absl::StatusCode::kDataLoss, "OTHER_REVISION",
                 absl::StrCat("the server sent the manifest of r", manifest->revision(), " in place of r", revision,
                              " of ", TaskId(task_), kDoNotTrust));
  }
  read.manifest = *std::move(manifest);
  read.revision.clear_signed_manifest();
  return read;
}

absl::Status RevisionReader::Fetch(const task::v1::Manifest& manifest, const payload::Files& files,
                                   const OnContent& on_content) const {
  task::v1::FetchRevisionChunksRequest request;
  request.set_name(RevisionName(task_, manifest.revision()));
  for (const FileEntry& file : files) {
    for (const std::string& digest : file.chunks()) request.add_chunks()->set_digest(digest);
  }
  const std::unique_ptr<ArtifactService::Stub> artifacts = ArtifactService::NewStub(server_->channel());
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReader<FetchChunksResponse>> stream;
  if (!request.chunks().empty()) stream = artifacts->FetchRevisionChunks(&context, request);
  ContentReceiver receiver(stream.get(), &manifest);

  absl::Status status;
  for (const FileEntry& file : files) {
    if (file.type() == FileEntry::TYPE_REGULAR) status = receiver.Receive(file, on_content);
    if (!status.ok()) break;
  }
  if (status.ok()) status = receiver.ReceiveEnd();
  if (stream == nullptr) return status;
  if (!receiver.ended()) context.TryCancel();
  const absl::Status finished = server_->Explain(stream->Finish());
  if (!receiver.ended()) return status;
  // An end that came early has its reason, unless the server lies.
  const std::string reason = Reason(finished);
  if (reason == "CHUNK_NOT_FOUND" || reason == "CHUNK_MISSING" || reason == "CHUNK_DAMAGED") {
    return ContentGone(task_, manifest.revision());
  }
  RETURN_IF_ERROR(finished);
  return status;
}

}  // namespace parley::ops
