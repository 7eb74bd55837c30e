#include "clients/operator/revisions.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "clients/operator/ids.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/crypto/hash.h"
#include "lib/payload/chunk.h"
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

absl::Status ContentDiffers(const task::v1::Manifest& manifest, const std::string& path, absl::string_view why) {
  return Error(absl::StatusCode::kDataLoss, "CONTENT_DIFFERS",
               absl::StrCat("the server sent other content than was signed for ", path, " of r", manifest.revision(),
                            " of ", TaskId(manifest.task()), " (", why, ")", kDoNotTrust));
}

// Reads frames from a stream, in the order in which they were asked for.
class FrameReader {
 public:
  using Stream = grpc::ClientReaderInterface<FetchChunksResponse>;
  explicit FrameReader(Stream* stream) : stream_(stream) {}

  // Returns the next frame; no value if the stream has ended, or brings something else.
  std::optional<std::string> Next(const std::string& digest) {
    std::string frame;
    FetchChunksResponse piece;
    do {
      ended_ = !stream_->Read(&piece);
      if (ended_) return std::nullopt;
      const int64_t size = static_cast<int64_t>(frame.size() + piece.data().size());
      if (piece.digest() != digest || piece.offset() != static_cast<int64_t>(frame.size()) || piece.data().empty() ||
          piece.frame_size() > static_cast<int64_t>(payload::kMaxFrameBytes) || size > piece.frame_size()) {
        return std::nullopt;
      }
      frame += piece.data();
    } while (static_cast<int64_t>(frame.size()) < piece.frame_size());
    return frame;
  }
  // Reads the end of the stream. Returns false if something else comes.
  bool ReadEnd() {
    FetchChunksResponse piece;
    ended_ = !stream_->Read(&piece);
    return ended_;
  }
  bool ended() const { return ended_; }

 private:
  Stream* const stream_;
  bool ended_ = false;
};

// Receives the content of one file, and verifies it.
absl::Status ReceiveFile(const task::v1::Manifest& manifest, const FileEntry& file, FrameReader* frames,
                         const RevisionReader::OnContent& on_content) {
  crypto::Sha256Stream whole;
  int64_t left = file.size();
  if (left == 0) {
    if (whole.Finish() != file.sha256()) return ContentDiffers(manifest, file.path(), "another digest");
    return on_content(file, "", true);
  }
  for (const std::string& digest : file.chunks()) {
    const std::optional<std::string> frame = frames->Next(digest);
    if (!frame.has_value()) return ContentDiffers(manifest, file.path(), "another chunk, or less than was asked for");
    const absl::StatusOr<std::string> content = payload::ExpandChunk(*frame, digest);
    if (!content.ok()) return ContentDiffers(manifest, file.path(), content.status().message());
    const int64_t size = static_cast<int64_t>(content->size());
    if (size != std::min(left, payload::kChunkBytes)) return ContentDiffers(manifest, file.path(), "another size");
    left -= size;
    whole.Update(*content);
    if (left == 0 && whole.Finish() != file.sha256()) return ContentDiffers(manifest, file.path(), "another digest");
    RETURN_IF_ERROR(on_content(file, *content, left == 0));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ContentGone(const std::string& task, int64_t revision) {
  return Error(absl::StatusCode::kDataLoss, "CONTENT_GONE",
               absl::StrCat("the server has no more all content of r", revision, " of ", TaskId(task),
                            "; publish its files anew, with: parley task publish ", TaskId(task), " --payload FOLDER"));
}

absl::StatusOr<task::v1::Task> RevisionReader::GetTask() const {
  task::v1::GetTaskRequest request;
  request.set_name(task_);
  return server_->Call<TaskService>(&TaskService::Stub::GetTask, request);
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
  FrameReader frames(stream.get());

  absl::Status status;
  for (const FileEntry& file : files) {
    if (file.type() == FileEntry::TYPE_REGULAR) status = ReceiveFile(manifest, file, &frames, on_content);
    if (!status.ok()) break;
  }
  if (stream == nullptr) return status;
  if (status.ok() && !frames.ReadEnd()) status = ContentDiffers(manifest, "its files", "more than was asked for");
  if (!frames.ended()) context.TryCancel();
  const absl::Status finished = server_->Explain(stream->Finish());
  if (!frames.ended()) return status;
  // An end that came early has its reason, unless the server lies.
  const std::string reason = Reason(finished);
  if (reason == "CHUNK_NOT_FOUND" || reason == "CHUNK_MISSING" || reason == "CHUNK_DAMAGED") {
    return ContentGone(task_, manifest.revision());
  }
  RETURN_IF_ERROR(finished);
  return status;
}

}  // namespace parley::ops
