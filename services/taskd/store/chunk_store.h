// Stores payload content: zstd frames, by the SHA-256 of what they hold. Each is stored once, whatever tasks use it.
//
// Every method returns the errors of lib/store.
//
// Threads: all methods may be called from any thread; they block on the store, but for chunks that many clients fetch
// at a time, which come from memory.
#ifndef PARLEY_SERVICES_TASKD_STORE_CHUNK_STORE_H_
#define PARLEY_SERVICES_TASKD_STORE_CHUNK_STORE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/store/store.h"
#include "services/taskd/store/bounded_cache.h"

namespace parley::taskd {

class ChunkStore {
 public:
  struct Chunk {
    std::string digest;
    std::string frame;
  };

  // `store` must outlive this. `cache_bytes` bounds the memory.
  ChunkStore(store::Store* store, size_t cache_bytes);

  // Returns the digests whose chunks are not there, each once, in the order given.
  absl::StatusOr<std::vector<std::string>> Missing(const std::vector<absl::string_view>& digests) const;

  // Stores chunks that the caller has verified, durably. One that is there already stays.
  absl::Status Put(std::vector<Chunk> chunks);

  // Returns the frame, or NOT_FOUND (CHUNK_NOT_FOUND).
  absl::StatusOr<std::shared_ptr<const std::string>> Get(const std::string& digest);
  // Returns the frame if it is in memory, or else null. Does not block.
  std::shared_ptr<const std::string> Cached(const std::string& digest) { return cache_.Find(digest); }

 private:
  store::Store* const store_;
  BoundedCache<std::string> cache_;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_STORE_CHUNK_STORE_H_
