// Brings the chunks of a manifest into the chunk cache: those that the target has, then those that only the server has.
//
// An interrupted transfer goes on at the byte where it stopped. Only content whose digest the signed manifest names
// enters the cache.
//
// Threads: not thread-safe.
#ifndef PARLEY_CLIENTS_AGENT_DOWNLOAD_H_
#define PARLEY_CLIENTS_AGENT_DOWNLOAD_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clients/agent/chunk_cache.h"
#include "parley/task/v1/artifact_service.grpc.pb.h"
#include "parley/task/v1/manifest.pb.h"

namespace parley::agent {

struct DownloadCounts {
  // Bytes of frames that came over the network in this run.
  int64_t received_bytes = 0;
  // Bytes of content that were found in the target.
  int64_t reused_bytes = 0;
  // Bytes of content that are in the cache now, and those of the whole set.
  int64_t done_bytes = 0;
  int64_t total_bytes = 0;
};

class Download {
 public:
  // `store` and `manifest` must outlive it.
  Download(const task::v1::Manifest* manifest, ChunkCache* store) : manifest_(manifest), store_(store) {}

  // Counts what is in the cache, removes what is of no use there, and adds what it finds in files of the folder
  // `target` (those of the manifest and `installed_paths`). Returns the errors of ChunkCache and of
  // payload::ScanInstalled.
  absl::Status ReuseFromTarget(const std::string& target, const std::vector<std::string>& installed_paths);

  // Is called for each piece that has come in. Its error ends the transfer.
  using OnProgress = std::function<absl::Status(const DownloadCounts&)>;
  // Makes the error of a call that the server or the connection has ended.
  using Explain = std::function<absl::Status(const grpc::Status&)>;
  // Fetches the rest by one call; call it until complete(). A chunk that was resumed and then proves wrong is left for
  // the next call, which asks for it from its first byte. Returns TRANSFER_MALFORMED if the server sends something else
  // than was asked for, CHUNK_* if a chunk is wrong, the errors of `on_progress`, `explain` and lib/base/file.h.
  absl::Status Fetch(task::v1::ArtifactService::StubInterface* stub, grpc::ClientContext* context,
                     const OnProgress& on_progress, const Explain& explain);

  // Removes the partial frames, so that the next call asks for every chunk from its first byte.
  void DropParts();

  bool complete() const { return missing_.empty(); }
  const DownloadCounts& counts() const { return counts_; }

 private:
  struct Missing {
    std::string digest;
    int64_t size;
    // How many bytes of the frame are here, some of them perhaps from an earlier call.
    int64_t offset = 0;
    bool resumed = false;
  };
  absl::Status Receive(const task::v1::FetchChunksResponse& response);
  absl::Status CompleteNext();
  absl::Status ReuseFromFile(int target, const task::v1::FileEntry& file);

  const task::v1::Manifest* const manifest_;
  ChunkCache* const store_;
  DownloadCounts counts_;
  // Digest to size of the chunks that are not in the cache, while ReuseFromTarget runs.
  std::map<std::string, int64_t> wanted_;
  // The same chunks afterwards, in the order of the manifest.
  std::vector<Missing> missing_;
  // Which chunk of missing_ is under way, and those that were wrong because their first bytes were.
  size_t next_ = 0;
  std::vector<Missing> again_;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_DOWNLOAD_H_
