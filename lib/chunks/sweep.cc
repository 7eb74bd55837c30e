// How chunks that nobody names go: ChunkStore::Sweep.
#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/chunks/chunk_store.h"
#include "lib/chunks/keys.h"

namespace parley::chunks {
namespace {

using store::Transaction;

constexpr size_t kInfosPerPage = 1000;
// Two changes each at most.
constexpr size_t kPerCommit = 60;

absl::string_view FileOf(const store::Entry& writing) {
  return absl::string_view(writing.key).substr(WritingKey("").size());
}

// Does something to all of them, as many at a time as a commit takes; where something of them has changed, which
// `attempt` says by ABORTED, one at a time, and leaves out what it is of. Counts those that it was done to.
template <typename Condemned, typename Attempt>
absl::Status InGroups(const std::vector<Condemned>& chunks, const Attempt& attempt, int64_t* done) {
  for (size_t begin = 0; begin < chunks.size(); begin += kPerCommit) {
    const auto some = absl::MakeConstSpan(chunks).subspan(begin, kPerCommit);
    const absl::Status together = attempt(some);
    if (!absl::IsAborted(together)) RETURN_IF_ERROR(together);
    if (together.ok()) *done += static_cast<int64_t>(some.size());
    for (size_t i = 0; i < some.size() && !together.ok(); ++i) {
      const absl::Status alone = attempt(some.subspan(i, 1));
      if (!absl::IsAborted(alone)) RETURN_IF_ERROR(alone);
      *done += alone.ok() ? 1 : 0;
    }
  }
  return absl::OkStatus();
}

}  // namespace

struct ChunkStore::Condemned {
  std::string digest;
  Found found;
};

// Files are listed first, then those that are being written, then the records: a file that no record names is still to
// get one only if it was being written when it was listed, or was not there yet.
absl::StatusOr<std::vector<ChunkStore::Condemned>> ChunkStore::FindCandidates(absl::Time now, Swept* swept) const {
  std::vector<ChunkFolder::File> files;
  std::unordered_set<std::string> writing, named;
  if (folder_ != nullptr) {
    ASSIGN_OR_RETURN(files, folder_->List());
    ASSIGN_OR_RETURN(const store::Page entries, options_.store->List(WritingRange()));
    for (const store::Entry& entry : entries.entries) writing.emplace(FileOf(entry));
  }
  std::vector<Condemned> candidates;
  store::KeyRange range = InfoRange();
  for (bool more = true; more;) {
    ASSIGN_OR_RETURN(const store::Page page, options_.store->List(range, kInfosPerPage));
    for (const store::Entry& entry : page.entries) {
      range.begin = entry.key + '\0';
      Condemned chunk;
      chunk.digest = HexDecode(entry.key.substr(InfoKey("").size())).value_or("");
      chunk.found.revision = entry.mod_revision;
      if (chunk.digest.empty() || !chunk.found.info.ParseFromString(entry.value)) {
        return DataLoss("RECORD_DAMAGED", "the stored record ", entry.key, " can not be read; restore a backup");
      }
      const ChunkInfo& info = chunk.found.info;
      if (!info.file().empty()) named.insert(chunk.digest + info.file());
      if (info.has_put_time() && now - ToTime(info.put_time()) < kUnnamedLifetime && !info.doomed()) continue;
      candidates.push_back(std::move(chunk));
    }
    more = page.more;
  }
  for (const ChunkFolder::File& file : files) {
    if (writing.count(file.file) != 0) continue;
    const size_t whole = HexEncode(file.digest).size() + 1 + file.file.size();
    const bool is_whole = file.path.size() - file.path.rfind('/') - 1 == whole;
    if (is_whole && named.count(file.digest + file.file) != 0) continue;
    RETURN_IF_ERROR(ChunkFolder::Remove(file.path));
    ++swept->files;
  }
  return candidates;
}

absl::StatusOr<ChunkStore::Swept> ChunkStore::Sweep(absl::Time now, const ListNamed& list_named) {
  Swept swept;
  // Before the names: what is doomed here was doomed before they were listed.
  ASSIGN_OR_RETURN(std::vector<Condemned> candidates, FindCandidates(now, &swept));
  if (candidates.empty()) return swept;
  ASSIGN_OR_RETURN(const std::unordered_set<std::string> named, list_named());
  std::vector<Condemned> revived, doomed, over;
  for (Condemned& chunk : candidates) {
    const bool is_named = named.count(chunk.digest) != 0;
    if (is_named && !chunk.found.info.doomed()) continue;
    (is_named ? revived : chunk.found.info.doomed() ? over : doomed).push_back(std::move(chunk));
  }
  RETURN_IF_ERROR(ReviveNamed(revived));
  RETURN_IF_ERROR(Remove(over, &swept));
  RETURN_IF_ERROR(Doom(doomed, &swept));
  return swept;
}

// Whoever was faster at one of them has put or claimed it: it is looked at again in the next pass.
absl::Status ChunkStore::ReviveNamed(const std::vector<Condemned>& chunks) const {
  for (const Condemned& chunk : chunks) {
    ChunkInfo info = chunk.found.info;
    info.clear_doomed();
    Transaction transaction;
    transaction.conditions.push_back({InfoKey(chunk.digest), chunk.found.revision});
    transaction.Set(InfoKey(chunk.digest), info.SerializeAsString());
    const absl::Status revived = options_.store->Commit(std::move(transaction)).status();
    if (!absl::IsAborted(revived)) RETURN_IF_ERROR(revived);
  }
  return absl::OkStatus();
}

absl::Status ChunkStore::Doom(const std::vector<Condemned>& chunks, Swept* swept) const {
  const auto doom = [&](absl::Span<const Condemned> some) {
    Transaction transaction;
    transaction.Set(std::string(kDoomedKey), "");
    for (const Condemned& chunk : some) {
      ChunkInfo info = chunk.found.info;
      info.set_doomed(true);
      transaction.conditions.push_back({InfoKey(chunk.digest), chunk.found.revision});
      transaction.Set(InfoKey(chunk.digest), info.SerializeAsString());
    }
    return options_.store->Commit(std::move(transaction)).status();
  };
  return InGroups(chunks, doom, &swept->doomed);
}

absl::Status ChunkStore::TryRemove(absl::Span<const Condemned> chunks) const {
  Transaction transaction;
  Used used;
  if (counts()) {
    ASSIGN_OR_RETURN(used, ReadUsed());
  }
  int64_t bytes = 0;
  for (const Condemned& chunk : chunks) {
    transaction.conditions.push_back({InfoKey(chunk.digest), chunk.found.revision});
    transaction.Delete(InfoKey(chunk.digest));
    if (!chunk.found.info.file().empty()) continue;
    transaction.Delete(FrameKey(chunk.digest));
    bytes += chunk.found.info.frame_size();
  }
  if (bytes > 0) SetUsed(used, -bytes, &transaction);
  RETURN_IF_ERROR(options_.store->Commit(std::move(transaction)).status());
  // If this is cut off, a later pass finds files without a record.
  for (const Condemned& chunk : chunks) {
    if (chunk.found.info.file().empty() || folder_ == nullptr) continue;
    RETURN_IF_ERROR(folder_->Remove(chunk.digest, chunk.found.info.file()));
  }
  return absl::OkStatus();
}

absl::Status ChunkStore::Remove(const std::vector<Condemned>& chunks, Swept* swept) const {
  return InGroups(
      chunks, [this](absl::Span<const Condemned> some) { return TryRemove(some); }, &swept->removed);
}

}  // namespace parley::chunks
