#include "services/taskd/service/artifact_service.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/rpc/start_stream.h"
#include "services/taskd/artifacts/upload_stream.h"
#include "services/taskd/domain/validation.h"

namespace parley::taskd {
namespace {

using grpc::ServerUnaryReactor;
using namespace task::v1;  // NOLINT: the whole API is adapted here.

std::string ArtifactMethod(absl::string_view name) { return absl::StrCat("parley.task.v1.ArtifactService.", name); }

}  // namespace

ServerUnaryReactor* ArtifactServiceAdapter::FindMissingChunks(Context* context, const FindMissingChunksRequest* request,
                                                              FindMissingChunksResponse* response) {
  return gate_->Unary(context, ArtifactMethod("FindMissingChunks"), [=, this](const rpc::Caller&) -> absl::Status {
    RETURN_IF_ERROR(ValidateFindMissing(*request));
    const std::vector<absl::string_view> digests(request->digests().begin(), request->digests().end());
    ASSIGN_OR_RETURN(std::vector<std::string> missing, parts_->chunks->Missing(digests));
    for (std::string& digest : missing) response->add_missing(std::move(digest));
    return absl::OkStatus();
  });
}

grpc::ServerReadReactor<UploadChunksRequest>* ArtifactServiceAdapter::UploadChunks(Context* context,
                                                                                   UploadChunksResponse* response) {
  const auto caller = gate_->Admit(*context, ArtifactMethod("UploadChunks"));
  auto* const stream = new UploadStream(parts_->chunks, gate_->workers(), caller.ok() ? *caller : rpc::Caller(),
                                        response);  // Deletes itself.
  if (caller.ok()) {
    stream->Begin();
  } else {
    stream->RefuseWith(caller.status());
  }
  return stream;
}

grpc::ServerWriteReactor<FetchChunksResponse>* ArtifactServiceAdapter::FetchChunks(Context* context,
                                                                                   const FetchChunksRequest* request) {
  return rpc::StartStream(*gate_, context, ArtifactMethod("FetchChunks"), [&](const rpc::Caller& caller) {
    return std::make_shared<FetchStream>(parts_, caller, *request);
  });
}

}  // namespace parley::taskd
