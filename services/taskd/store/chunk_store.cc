#include "services/taskd/store/chunk_store.h"

#include <unordered_set>

#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "services/taskd/store/keys.h"
#include "services/taskd/store/records.pb.h"

namespace parley::taskd {
namespace {

// Frames of one commit, so that no transaction outgrows what an engine takes.
constexpr size_t kCommitBytes = 1'000'000;
constexpr size_t kCommitPuts = 120;

}  // namespace

ChunkStore::ChunkStore(store::Store* store, size_t cache_bytes) : store_(store), cache_(cache_bytes) {}

absl::StatusOr<std::vector<std::string>> ChunkStore::Missing(const std::vector<absl::string_view>& digests) const {
  std::vector<std::string> missing;
  std::unordered_set<std::string> seen;
  for (const absl::string_view digest : digests) {
    if (!seen.insert(std::string(digest)).second) continue;
    const absl::Status status = store_->Get(ChunkInfoKey(digest)).status();
    if (absl::IsNotFound(status)) {
      missing.emplace_back(digest);
      continue;
    }
    RETURN_IF_ERROR(status);
  }
  return missing;
}

absl::Status ChunkStore::Put(std::vector<Chunk> chunks) {
  std::vector<absl::string_view> digests;
  for (const Chunk& chunk : chunks) digests.push_back(chunk.digest);
  ASSIGN_OR_RETURN(const std::vector<std::string> missing, Missing(digests));
  std::unordered_set<std::string> wanted(missing.begin(), missing.end());
  store::Transaction transaction;
  size_t bytes = 0;
  for (Chunk& chunk : chunks) {
    if (wanted.erase(chunk.digest) == 0) continue;
    const bool full = bytes + chunk.frame.size() > kCommitBytes || transaction.puts.size() >= kCommitPuts;
    if (bytes > 0 && full) {
      RETURN_IF_ERROR(store_->Commit(std::move(transaction)).status());
      transaction = {};
      bytes = 0;
    }
    bytes += chunk.frame.size();
    ChunkInfo info;
    info.set_frame_size(static_cast<int32_t>(chunk.frame.size()));
    transaction.Set(ChunkInfoKey(chunk.digest), info.SerializeAsString());
    transaction.Set(ChunkKey(chunk.digest), std::move(chunk.frame));
  }
  if (bytes == 0) return absl::OkStatus();
  return store_->Commit(std::move(transaction)).status();
}

absl::StatusOr<std::shared_ptr<const std::string>> ChunkStore::Get(const std::string& digest) {
  if (auto cached = cache_.Find(digest)) return cached;
  absl::StatusOr<store::Entry> entry = store_->Get(ChunkKey(digest));
  if (absl::IsNotFound(entry.status())) {
    return Error(absl::StatusCode::kNotFound, "CHUNK_NOT_FOUND", absl::StrCat("there is no chunk ", HexEncode(digest)));
  }
  RETURN_IF_ERROR(entry.status());
  auto frame = std::make_shared<const std::string>(std::move(entry->value));
  cache_.Put(digest, frame, frame->size());
  return frame;
}

}  // namespace parley::taskd
