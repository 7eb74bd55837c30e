// Stores payload content: zstd frames, by the SHA-256 of what they hold. Each is stored once, whatever names it, and is
// removed when nothing names it any more.
//
// The bytes are in the store beside everything else, or in a folder that the replicas of a service share; what is there
// says a record in the store. A folder that is named later takes what comes from then on; what the store has stays
// there.
//
// Guarantees: a chunk that a commit names which is conditional on Hold stays as long as it is named, whoever sweeps
// meanwhile and wherever a process dies. A chunk that was put or claimed stays for a day, whether it is named or not,
// unless it is released. What is returned has the digest that was asked for.
//
// How that is so: a sweep first dooms what nobody names, and removes in a later pass what is doomed and still not
// named. Dooming puts one entry that Hold names. So of a commit that names a doomed chunk, either the check that it is
// there came after, and found it missing; or the commit came before, and the later pass finds it named; or it fails.
//
// Threads: all methods may be called from any thread; they block on the store, but for chunks that many fetch at a
// time, which come from memory. One process sweeps at a time, but two do no harm.
#ifndef PARLEY_LIB_CHUNKS_CHUNK_STORE_H_
#define PARLEY_LIB_CHUNKS_CHUNK_STORE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "lib/base/bounded_cache.h"
#include "lib/base/clock.h"
#include "lib/chunks/chunk_folder.h"
#include "lib/chunks/chunks.pb.h"
#include "lib/store/store.h"

namespace parley::chunks {

// How long a chunk stays that no revision names yet.
inline constexpr absl::Duration kUnnamedLifetime = absl::Hours(24);

class ChunkStore {
 public:
  struct Options {
    // Both must outlive this.
    store::Store* store = nullptr;
    Clock* clock = Clock::System();
    // Bounds what is kept in memory, in bytes.
    size_t cache_bytes = 64 << 20;
    // Where new chunks go; empty for the store.
    std::string folder;
    // How many bytes of chunks the store may have; 0 for any number.
    int64_t max_stored_bytes = 0;
    // Says to people how to get more room, as the second half of a sentence, and which setting names the folder.
    std::string more_room = "remove others first";
    std::string folder_setting = "the folder";
  };
  struct Chunk {
    std::string digest;
    std::string frame;
  };
  struct Swept {
    int64_t doomed = 0;
    int64_t removed = 0;
    // Files that no record named.
    int64_t files = 0;
  };
  // Returns the digests that revisions name.
  using ListNamed = std::function<absl::StatusOr<std::unordered_set<std::string>>()>;

  explicit ChunkStore(Options options);

  // Comes before everything else, once. Returns the errors of ChunkFolder::Open, or FAILED_PRECONDITION
  // (CHUNK_FOLDER_NEEDED) if the store has chunks in a folder and none is named.
  absl::Status Start();

  // Adds to a commit which will name chunks that it fails if one of them has been doomed since now. Whether they are
  // there is to be asked, and those that are not are to be put, afterwards. Returns the errors of the store.
  absl::Status Hold(store::Transaction* commit) const;
  // Returns the digests whose chunks are not there, each once, in the order given. Returns the errors of the store.
  absl::StatusOr<std::vector<std::string>> Missing(absl::Span<const absl::string_view> digests) const;
  // Does so too, and lets the others stay as if they had been put just now.
  absl::StatusOr<std::vector<std::string>> Claim(absl::Span<const absl::string_view> digests);
  // Stores chunks that the caller has verified, durably. Returns RESOURCE_EXHAUSTED (CHUNKS_FULL); the errors of the
  // store and of files.
  absl::Status Put(std::vector<Chunk> chunks);

  // Returns the frame, verified. Returns NOT_FOUND (CHUNK_NOT_FOUND); DATA_LOSS: CHUNK_DAMAGED, CHUNK_MISSING; the
  // errors of the store and of files.
  absl::StatusOr<std::shared_ptr<const std::string>> Get(const std::string& digest);
  // Returns the frame if it is in memory, or else null. Does not block.
  std::shared_ptr<const std::string> Cached(const std::string& digest) { return cache_.Find(digest); }

  // Says that a revision which named these chunks goes: they need not stay for a day. Returns the errors of the store.
  absl::Status Release(absl::Span<const absl::string_view> digests);
  // Makes one pass: dooms chunks that are not named and not new at `now`, and removes those that an earlier pass has
  // doomed and that are still not named. Does nothing if `list_named` fails. Returns its errors, those of the store and
  // of files.
  absl::StatusOr<Swept> Sweep(absl::Time now, const ListNamed& list_named);

 private:
  struct Found {
    int64_t revision = 0;
    ChunkInfo info;
  };
  // The bytes in the store, and the condition that they are that.
  struct Used {
    int64_t bytes = 0;
    store::Transaction::Condition unchanged;
  };
  struct Condemned;

  absl::StatusOr<std::optional<Found>> Find(absl::string_view digest) const;
  // Whether a chunk may be named: it is not doomed, and its file is there.
  bool IsThere(absl::string_view digest, const Found& found) const;
  bool counts() const { return options_.max_stored_bytes > 0; }
  absl::StatusOr<Used> ReadUsed() const;
  // Adds to a commit what it does to the bytes in the store, which were counted by `used`.
  void SetUsed(const Used& used, int64_t change, store::Transaction* commit) const;
  absl::Status CheckRoom(const Used& used, int64_t change) const;
  absl::StatusOr<std::vector<std::string>> ClaimSome(absl::Span<const absl::string_view> digests);
  // Adds to a commit that the chunk stays, if it would not without that.
  void StayLonger(absl::string_view digest, Found found, store::Transaction* commit) const;
  absl::Status PutSome(absl::Span<const Chunk> chunks);
  // Files that were written for a former try, which a conflict has ended, are named by `files` and serve again.
  struct Files {
    ChunkFolder::Writing writing;
    std::unordered_set<std::string> digests;
  };
  absl::StatusOr<std::optional<store::Transaction>> NewPut(absl::Span<const Chunk> chunks, Files* files) const;
  absl::Status WriteFile(const Chunk& chunk, Files* files) const;
  absl::StatusOr<std::string> ReadFrame(const std::string& digest) const;

  // These are in sweep.cc.
  absl::StatusOr<std::vector<Condemned>> FindCandidates(absl::Time now, Swept* swept) const;
  absl::Status ReviveNamed(const std::vector<Condemned>& named) const;
  absl::Status Doom(const std::vector<Condemned>& chunks, Swept* swept) const;
  absl::Status Remove(const std::vector<Condemned>& chunks, Swept* swept) const;
  absl::Status TryRemove(absl::Span<const Condemned> chunks) const;

  const Options options_;
  std::unique_ptr<ChunkFolder> folder_;
  BoundedCache<std::string> cache_;
};

}  // namespace parley::chunks

#endif  // PARLEY_LIB_CHUNKS_CHUNK_STORE_H_
