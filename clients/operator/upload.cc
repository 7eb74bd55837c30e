#include "clients/operator/upload.h"

#include <memory>
#include <set>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/payload/chunk.h"
#include "parley/task/v1/artifact_service.grpc.pb.h"

namespace parley::ops {
namespace {

using task::v1::ArtifactService;

absl::StatusOr<std::set<std::string>> FindMissing(const Connection& server, const payload::Files& files) {
  // Within what one request may hold, and within gRPC's message size.
  constexpr int kDigestsPerRequest = 10'000;
  std::set<std::string> digests, missing;
  for (const task::v1::FileEntry& file : files) digests.insert(file.chunks().begin(), file.chunks().end());
  task::v1::FindMissingChunksRequest request;
  auto next = digests.begin();
  while (next != digests.end()) {
    request.clear_digests();
    while (next != digests.end() && request.digests_size() < kDigestsPerRequest) request.add_digests(*next++);
    ASSIGN_OR_RETURN(const task::v1::FindMissingChunksResponse response,
                     server.Call<ArtifactService>(&ArtifactService::Stub::FindMissingChunks, request));
    missing.insert(response.missing().begin(), response.missing().end());
  }
  return missing;
}

}  // namespace

absl::Status UploadPayload(const Connection& server, const std::string& path, const payload::Files& files,
                           const UploadProgress& progress) {
  ASSIGN_OR_RETURN(std::set<std::string> missing, FindMissing(server, files));
  if (missing.empty()) return absl::OkStatus();
  const std::unique_ptr<ArtifactService::Stub> artifacts = ArtifactService::NewStub(server.channel());
  grpc::ClientContext context;
  task::v1::UploadChunksResponse response;
  const auto writer = artifacts->UploadChunks(&context, &response);
  const size_t total = missing.size();
  bool open = true;
  // A second reading, so that a payload larger than memory can be sent.
  const absl::StatusOr<payload::Files> again =
      payload::ScanPayload(path, [&](absl::string_view digest, absl::string_view content) -> absl::Status {
        if (!open || missing.erase(std::string(digest)) == 0) return absl::OkStatus();
        task::v1::UploadChunksRequest chunk;
        chunk.set_digest(std::string(digest));
        chunk.set_zstd(payload::CompressChunk(content));
        open = writer->Write(chunk);
        if (progress) progress(total - missing.size(), total);
        return absl::OkStatus();
      });
  writer->WritesDone();
  if (!again.ok()) context.TryCancel();
  const grpc::Status status = writer->Finish();
  if (progress) progress(0, 0);
  RETURN_IF_ERROR(again.status());
  RETURN_IF_ERROR(server.Explain(status));
  if (!missing.empty()) {
    return Error(absl::StatusCode::kAborted, "FILE_CHANGED",
                 absl::StrCat(path, " changed while it was being read; try again when nobody writes to it"));
  }
  return absl::OkStatus();
}

}  // namespace parley::ops
