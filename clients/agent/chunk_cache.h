// The chunks of a set that a client has already, and the beginnings of those that it has a part of.
//
// Each is a file: "{hex digest}" holds verified content, "{hex digest}.part" the beginning of a frame as it came in.
// Content is verified again when it is read, so that a fault of the disk or a change by somebody else is noticed.
//
// Threads: not thread-safe.
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
  // Makes the folder with mode 0700 if it is missing. Returns the errors of lib/base/file.h.
  static absl::StatusOr<ChunkCache> Open(const std::string& folder);

  // Returns whether content with this digest is here.
  bool Has(absl::string_view digest) const;
  // Returns the content, or NOT_FOUND (CHUNK_MISSING) if there is none or if it is damaged, which removes it.
  absl::StatusOr<std::string> Read(absl::string_view digest) const;
  // Stores content that is known to have this digest. Returns the errors of lib/base/file.h.
  absl::Status Put(absl::string_view digest, absl::string_view content);

  // Returns how many bytes of the frame are here.
  int64_t PartBytes(absl::string_view digest) const;
  // Adds to the partial frame, which a process that starts after this one was killed finds too. Returns the errors of
  // lib/base/file.h.
  absl::Status Append(absl::string_view digest, absl::string_view data);
  // Verifies the partial frame as a whole and stores its content. The partial frame is gone afterwards in any case.
  // Returns the errors of payload::ExpandChunk and of lib/base/file.h.
  absl::Status Complete(absl::string_view digest);
  // Completes the partial frame if it is a whole one, and leaves it as it is otherwise: the last process may have been
  // killed over it. Returns whether the content is stored.
  bool CompleteIfWhole(absl::string_view digest);

  // Removes a partial frame.
  void DropPart(absl::string_view digest);
  // Removes all content and partial frames but those of these digests. Returns the errors of lib/base/file.h.
  absl::Status Prune(const std::set<std::string>& digests);

 private:
  explicit ChunkCache(std::string folder) : folder_(std::move(folder)) {}
  std::string PathOf(absl::string_view digest) const;
  std::string PartOf(absl::string_view digest) const;

  std::string folder_;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_CHUNK_CACHE_H_
