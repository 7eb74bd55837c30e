// Chunks that a client has, verified, and those that it has half of.
//
// One file each: "{hex digest}" holds verified content, "{hex digest}.part" the beginning of a frame as it came in.
// What is verified here is verified again when it is read, so a disk's fault or a neighbour's hand is noticed.
//
// Threads: none.
#ifndef PARLEY_CLIENTS_AGENT_CHUNK_CACHE_H_
#define PARLEY_CLIENTS_AGENT_CHUNK_CACHE_H_

#include <cstdint>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace parley::agent {

class ChunkCache {
 public:
  // Makes the folder, mode 0700.
  static absl::StatusOr<ChunkCache> Open(const std::string& folder);

  bool Has(absl::string_view digest) const;
  // The content; NOT_FOUND (CHUNK_MISSING) when there is none or it is damaged, which removes it.
  absl::StatusOr<std::string> Read(absl::string_view digest) const;
  // Content that is known to have this digest.
  absl::Status Put(absl::string_view digest, absl::string_view content);

  // Bytes of the frame that are here; 0 when none.
  int64_t PartBytes(absl::string_view digest) const;
  // Adds to the partial frame. The bytes are there for a process that starts after this one was killed.
  absl::Status Append(absl::string_view digest, absl::string_view data);
  // Verifies the partial frame as a whole and keeps its content. Errors of payload::ExpandChunk; the partial frame is
  // gone either way.
  absl::Status Complete(absl::string_view digest);

  // As Complete, but a partial frame that is not a whole one stays as it is: for one that the last process was killed
  // over.
  bool CompleteIfWhole(absl::string_view digest);

  // Forgets a partial frame.
  void DropPart(absl::string_view digest);
  // Removes all but these.
  absl::Status Prune(const std::set<std::string>& digests);

 private:
  explicit ChunkCache(std::string folder) : folder_(std::move(folder)) {}
  std::string PathOf(absl::string_view digest) const;
  std::string PartOf(absl::string_view digest) const;

  std::string folder_;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_CHUNK_CACHE_H_
