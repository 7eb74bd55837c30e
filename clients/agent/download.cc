#include "clients/agent/download.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/sync_stream.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"
#include "lib/crypto/hash.h"
#include "lib/payload/beneath.h"
#include "lib/payload/fileset.h"

namespace parley::agent {
namespace {

using task::v1::FetchChunksRequest;
using task::v1::FetchChunksResponse;
using task::v1::FileEntry;

int64_t ChunkSize(const FileEntry& file, int index) {
  return std::min(payload::kChunkBytes, file.size() - index * payload::kChunkBytes);
}

absl::Status Malformed(absl::string_view why) {
  return Error(absl::StatusCode::kDataLoss, "TRANSFER_MALFORMED",
               absl::StrCat("the server sent something else than the chunk that was asked for: ", why));
}

}  // namespace

absl::Status Download::ReuseFromFile(int target, const FileEntry& file) {
  const auto useful = [this](const std::string& digest) { return wanted_.count(digest) > 0; };
  if (std::none_of(file.chunks().begin(), file.chunks().end(), useful)) return absl::OkStatus();
  const Fd fd = payload::OpenBeneath(target, file.path(), O_RDONLY | O_NONBLOCK);
  if (!fd.ok()) return absl::OkStatus();  // It was there a moment ago; then the server has it.
  for (int i = 0; i < file.chunks_size(); ++i) {
    const auto wanted = wanted_.find(file.chunks(i));
    if (wanted == wanted_.end()) continue;
    std::string content(static_cast<size_t>(ChunkSize(file, i)), '\0');
    const ssize_t count = pread(fd.get(), content.data(), content.size(), i * payload::kChunkBytes);
    if (count != static_cast<ssize_t>(content.size()) || crypto::Sha256(content) != wanted->first) continue;
    RETURN_IF_ERROR(store_->Put(wanted->first, content));
    counts_.reused_bytes += wanted->second;
    counts_.done_bytes += wanted->second;
    wanted_.erase(wanted);
  }
  return absl::OkStatus();
}

absl::Status Download::ReuseFromTarget(const std::string& target, const std::vector<std::string>& installed_paths) {
  std::set<std::string> digests, paths(installed_paths.begin(), installed_paths.end());
  for (const FileEntry& file : manifest_->files()) {
    paths.insert(file.path());
    for (int i = 0; i < file.chunks_size(); ++i) {
      const std::string& digest = file.chunks(i);
      if (!digests.insert(digest).second) continue;
      counts_.total_bytes += ChunkSize(file, i);
      const bool here = store_->Has(digest) || (store_->PartBytes(digest) > 0 && store_->CompleteIfWhole(digest));
      if (here) counts_.done_bytes += ChunkSize(file, i);
      if (!here) wanted_.emplace(digest, ChunkSize(file, i));
    }
  }
  RETURN_IF_ERROR(store_->Prune(digests));
  const Fd folder(open(target.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.ok() && !wanted_.empty()) {
    payload::Files look_at;
    for (const std::string& path : paths) look_at.Add()->set_path(path);
    ASSIGN_OR_RETURN(const payload::Files installed, payload::ScanInstalled(target, look_at));
    for (const FileEntry& file : installed) RETURN_IF_ERROR(ReuseFromFile(folder.get(), file));
  }
  for (const FileEntry& file : manifest_->files()) {
    for (const std::string& digest : file.chunks()) {
      const auto wanted = wanted_.find(digest);
      if (wanted == wanted_.end()) continue;
      missing_.push_back({.digest = digest, .size = wanted->second});
      wanted_.erase(wanted);
    }
  }
  return absl::OkStatus();
}

absl::Status Download::Fetch(task::v1::ArtifactService::StubInterface* stub, grpc::ClientContext* context,
                             const OnProgress& on_progress, const Explain& explain) {
  FetchChunksRequest request;
  request.set_task(manifest_->task());
  request.set_revision(manifest_->revision());
  for (Missing& chunk : missing_) {
    chunk.offset = store_->PartBytes(chunk.digest);
    chunk.resumed = chunk.offset > 0;
    FetchChunksRequest::Chunk* asked = request.add_chunks();
    asked->set_digest(chunk.digest);
    asked->set_offset(chunk.offset);
  }
  const std::unique_ptr<grpc::ClientReaderInterface<FetchChunksResponse>> reader = stub->FetchChunks(context, request);
  FetchChunksResponse response;
  absl::Status status;
  next_ = 0;
  while (status.ok() && reader->Read(&response)) {
    status = Receive(response);
    if (status.ok()) status = on_progress(counts_);
  }
  if (!status.ok()) context->TryCancel();
  const grpc::Status finished = reader->Finish();
  missing_.erase(missing_.begin(), missing_.begin() + static_cast<std::ptrdiff_t>(next_));
  missing_.insert(missing_.end(), again_.begin(), again_.end());
  const bool progressed = next_ > again_.size();
  const bool again = !again_.empty();
  again_.clear();
  RETURN_IF_ERROR(status);
  if (!finished.ok()) return explain(finished);
  if (complete() || again || progressed) return absl::OkStatus();
  return Malformed("it ended before the first chunk was whole");
}

void Download::DropParts() {
  for (const Missing& chunk : missing_) store_->DropPart(chunk.digest);
}

absl::Status Download::Receive(const FetchChunksResponse& response) {
  if (next_ == missing_.size()) return Malformed("more than was asked for");
  Missing& chunk = missing_[next_];
  const int64_t size = static_cast<int64_t>(response.data().size());
  if (response.digest() != chunk.digest) return Malformed("another chunk, or another order");
  if (response.offset() != chunk.offset) return Malformed("another offset");
  if (response.frame_size() < 1 || response.frame_size() > static_cast<int64_t>(payload::kMaxFrameBytes)) {
    return Malformed(absl::StrCat("a frame of ", response.frame_size(), " bytes"));
  }
  if (size == 0 || size > response.frame_size() - chunk.offset) return Malformed("another number of bytes");
  RETURN_IF_ERROR(store_->Append(chunk.digest, response.data()));
  chunk.offset += size;
  counts_.received_bytes += size;
  return chunk.offset == response.frame_size() ? CompleteNext() : absl::OkStatus();
}

absl::Status Download::CompleteNext() {
  const Missing& chunk = missing_[next_];
  const absl::Status status = store_->Complete(chunk.digest);
  const bool wrong = status.code() == absl::StatusCode::kInvalidArgument;
  if (wrong && chunk.resumed) {
    again_.push_back({.digest = chunk.digest, .size = chunk.size});
  } else if (!status.ok()) {
    return Annotate(status, absl::StrCat("chunk ", HexEncode(chunk.digest).substr(0, 12)));
  } else {
    counts_.done_bytes += chunk.size;
  }
  ++next_;
  return absl::OkStatus();
}

}  // namespace parley::agent
