// Brings the chunks of a manifest into the store: those that the target has, then those that only the server has.
//
// An interrupted transfer goes on at the byte. Nothing enters the store but content with the digest that the signed
// manifest names.
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
  // Of frames, over the network, in this run.
  int64_t received_bytes = 0;
  // Of content, found in the target.
  int64_t reused_bytes = 0;
  // Of content: in the store now, and in all.
  int64_t done_bytes = 0;
  int64_t total_bytes = 0;
};

class Download {
 public:
  // `store` and `manifest` must outlive it.
  Download(const task::v1::Manifest* manifest, ChunkCache* store) : manifest_(manifest), store_(store) {}

  // Counts what is in the store, drops what is of no use, and takes from the files of `target` (those of the
  // manifest and `installed_paths`) what it can.
  absl::Status ReuseFromTarget(const std::string& target, const std::vector<std::string>& installed_paths);

  // Called with each piece that came in; an error ends the transfer.
  using OnProgress = std::function<absl::Status(const DownloadCounts&)>;
  // Fetches the rest by one call; call it until complete(). A chunk that was resumed and then proves wrong is left for
  // the next call, from its first byte. TRANSFER_MALFORMED when the server sends other than what was asked for; CHUNK_*
  // when a chunk is wrong; a gRPC error as `explain` makes it; those of the disk.
  using Explain = std::function<absl::Status(const grpc::Status&)>;
  absl::Status Fetch(task::v1::ArtifactService::StubInterface* stub, grpc::ClientContext* context,
                     const OnProgress& on_progress, const Explain& explain);

  // The next call asks for every chunk from its first byte.
  void DropParts();

  bool complete() const { return missing_.empty(); }
  const DownloadCounts& counts() const { return counts_; }

 private:
  struct Missing {
    std::string digest;
    int64_t size;
    // Bytes of the frame that are here, some of them from an earlier call.
    int64_t offset = 0;
    bool resumed = false;
  };
  absl::Status Receive(const task::v1::FetchChunksResponse& response);
  absl::Status CompleteNext();
  absl::Status ReuseFromFile(int target, const task::v1::FileEntry& file);

  const task::v1::Manifest* const manifest_;
  ChunkCache* const store_;
  DownloadCounts counts_;
  // By digest, for the time of ReuseFromTarget; then in the order of the manifest.
  std::map<std::string, int64_t> wanted_;
  std::vector<Missing> missing_;
  // Of missing_, the one under way; those that were wrong because their first bytes were.
  size_t next_ = 0;
  std::vector<Missing> again_;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_DOWNLOAD_H_
