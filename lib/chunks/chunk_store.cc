#include "lib/chunks/chunk_store.h"

#include <set>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/chunks/keys.h"
#include "lib/payload/chunk.h"
#include "lib/store/update.h"

namespace parley::chunks {
namespace {

using store::Transaction;

// What goes into one commit: fewer than engines take, with what is counted and claimed beside.
constexpr size_t kCommitBytes = 1'000'000;
constexpr size_t kCommitPuts = 40;
constexpr size_t kCommitClaims = 100;
constexpr char kWhat[] = "the chunks of a payload";

std::vector<absl::string_view> Unique(absl::Span<const absl::string_view> digests) {
  std::vector<absl::string_view> unique;
  std::set<absl::string_view> seen;
  for (const absl::string_view digest : digests) {
    if (seen.insert(digest).second) unique.push_back(digest);
  }
  return unique;
}

template <typename Record>
absl::Status Parse(const store::Entry& entry, Record* record) {
  if (record->ParseFromString(entry.value)) return absl::OkStatus();
  return DataLoss("RECORD_DAMAGED", "the stored record ", entry.key, " can not be read; restore a backup");
}

std::string MiB(int64_t bytes) { return absl::StrCat(bytes >> 20, " MiB"); }

}  // namespace

ChunkStore::ChunkStore(Options options) : options_(std::move(options)), cache_(options_.cache_bytes) {}

absl::Status ChunkStore::Start() {
  if (!options_.folder.empty()) {
    ASSIGN_OR_RETURN(folder_, ChunkFolder::Open(options_.store, options_.folder));
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const std::string folder, FindChunkFolder(options_.store));
  if (folder.empty()) return absl::OkStatus();
  return FailedPrecondition("CHUNK_FOLDER_NEEDED", "the chunks of this store are in a folder, ", folder,
                            " when it was last used; name it with ", options_.folder_setting);
}

absl::Status ChunkStore::Hold(Transaction* commit) const {
  const absl::StatusOr<store::Entry> doomed = options_.store->Get(kDoomedKey);
  if (!absl::IsNotFound(doomed.status())) RETURN_IF_ERROR(doomed.status());
  commit->conditions.push_back({std::string(kDoomedKey), doomed.ok() ? doomed->mod_revision : 0});
  return absl::OkStatus();
}

absl::StatusOr<std::optional<ChunkStore::Found>> ChunkStore::Find(absl::string_view digest) const {
  const absl::StatusOr<store::Entry> entry = options_.store->Get(InfoKey(digest));
  if (absl::IsNotFound(entry.status())) return std::optional<Found>();
  RETURN_IF_ERROR(entry.status());
  Found found;
  found.revision = entry->mod_revision;
  RETURN_IF_ERROR(Parse(*entry, &found.info));
  return std::optional<Found>(std::move(found));
}

bool ChunkStore::IsThere(absl::string_view digest, const Found& found) const {
  if (found.info.doomed()) return false;
  if (found.info.file().empty() || folder_ == nullptr) return true;
  return folder_->Holds(digest, found.info.file(), found.info.frame_size());
}

absl::StatusOr<std::vector<std::string>> ChunkStore::Missing(absl::Span<const absl::string_view> digests) const {
  std::vector<std::string> missing;
  for (const absl::string_view digest : Unique(digests)) {
    ASSIGN_OR_RETURN(const std::optional<Found> found, Find(digest));
    if (!found.has_value() || !IsThere(digest, *found)) missing.emplace_back(digest);
  }
  return missing;
}

void ChunkStore::StayLonger(absl::string_view digest, Found found, Transaction* commit) const {
  const absl::Time now = options_.clock->Now();
  if (found.info.has_put_time() && now - ToTime(found.info.put_time()) < kUnnamedLifetime / 2) return;
  *found.info.mutable_put_time() = ToProto(now);
  commit->conditions.push_back({InfoKey(digest), found.revision});
  commit->Set(InfoKey(digest), found.info.SerializeAsString());
}

absl::StatusOr<std::vector<std::string>> ChunkStore::ClaimSome(absl::Span<const absl::string_view> digests) {
  std::vector<std::string> missing;
  const auto decide = [&](int) -> absl::StatusOr<std::optional<Transaction>> {
    missing.clear();
    Transaction transaction;
    for (const absl::string_view digest : digests) {
      ASSIGN_OR_RETURN(std::optional<Found> found, Find(digest));
      if (found.has_value() && IsThere(digest, *found)) {
        StayLonger(digest, *std::move(found), &transaction);
      } else {
        missing.emplace_back(digest);
      }
    }
    if (transaction.puts.empty()) return std::nullopt;
    return transaction;
  };
  RETURN_IF_ERROR(store::Update(options_.store, kWhat, decide).status());
  return missing;
}

absl::StatusOr<std::vector<std::string>> ChunkStore::Claim(absl::Span<const absl::string_view> digests) {
  const std::vector<absl::string_view> unique = Unique(digests);
  std::vector<std::string> missing;
  for (size_t begin = 0; begin < unique.size(); begin += kCommitClaims) {
    ASSIGN_OR_RETURN(const std::vector<std::string> some,
                     ClaimSome(absl::MakeConstSpan(unique).subspan(begin, kCommitClaims)));
    missing.insert(missing.end(), some.begin(), some.end());
  }
  return missing;
}

absl::StatusOr<ChunkStore::Used> ChunkStore::ReadUsed() const {
  Used used;
  used.unchanged.key = std::string(kUsedKey);
  const absl::StatusOr<store::Entry> entry = options_.store->Get(kUsedKey);
  if (entry.ok()) {
    ChunksUsed record;
    RETURN_IF_ERROR(Parse(*entry, &record));
    used.bytes = record.bytes();
    used.unchanged.mod_revision = entry->mod_revision;
    return used;
  }
  if (!absl::IsNotFound(entry.status())) return entry.status();
  ASSIGN_OR_RETURN(const store::Page all, options_.store->List(InfoRange()));
  for (const store::Entry& each : all.entries) {
    ChunkInfo info;
    RETURN_IF_ERROR(Parse(each, &info));
    if (info.file().empty()) used.bytes += info.frame_size();
  }
  return used;
}

void ChunkStore::SetUsed(const Used& used, int64_t change, Transaction* commit) const {
  if (!counts()) {
    // Nobody counts, and what was counted is true no more.
    commit->Delete(std::string(kUsedKey));
    return;
  }
  ChunksUsed record;
  record.set_bytes(used.bytes + change);
  commit->conditions.push_back(used.unchanged);
  commit->Set(std::string(kUsedKey), record.SerializeAsString());
}

absl::Status ChunkStore::CheckRoom(const Used& used, int64_t change) const {
  if (change <= 0 || used.bytes + change <= options_.max_stored_bytes) return absl::OkStatus();
  return Error(absl::StatusCode::kResourceExhausted, "CHUNKS_FULL", "the payloads of all tasks may take ",
               MiB(options_.max_stored_bytes), " in the store, and this one goes beyond that; ", options_.more_room);
}

absl::StatusOr<std::optional<Transaction>> ChunkStore::NewPut(absl::Span<const Chunk> chunks, Files* files) const {
  Transaction transaction;
  Used used;
  // Before the chunks are looked at, so that what is added is what they lack.
  if (counts()) {
    ASSIGN_OR_RETURN(used, ReadUsed());
  }
  int64_t change = 0;
  bool in_store = false, in_folder = false;
  for (const Chunk& chunk : chunks) {
    ASSIGN_OR_RETURN(std::optional<Found> found, Find(chunk.digest));
    if (found.has_value() && IsThere(chunk.digest, *found)) {
      StayLonger(chunk.digest, *std::move(found), &transaction);
      continue;
    }
    const bool was_in_store = found.has_value() && found->info.file().empty();
    if (was_in_store) change -= found->info.frame_size();
    in_store |= was_in_store || folder_ == nullptr;
    ChunkInfo info;
    info.set_frame_size(static_cast<int32_t>(chunk.frame.size()));
    *info.mutable_put_time() = ToProto(options_.clock->Now());
    if (folder_ == nullptr) {
      change += static_cast<int64_t>(chunk.frame.size());
      transaction.Set(FrameKey(chunk.digest), chunk.frame);
    } else {
      RETURN_IF_ERROR(WriteFile(chunk, files));
      in_folder = true;
      info.set_file(files->writing.file);
      if (was_in_store) transaction.Delete(FrameKey(chunk.digest));
    }
    transaction.Set(InfoKey(chunk.digest), info.SerializeAsString());
  }
  if (transaction.puts.empty()) return std::nullopt;
  if (in_folder) ChunkFolder::Require(files->writing, &transaction);
  if (in_store) {
    if (counts()) RETURN_IF_ERROR(CheckRoom(used, change));
    SetUsed(used, change, &transaction);
  }
  return transaction;
}

absl::Status ChunkStore::WriteFile(const Chunk& chunk, Files* files) const {
  if (files->writing.file.empty()) {
    ASSIGN_OR_RETURN(files->writing, folder_->BeginWriting());
  }
  if (files->digests.count(chunk.digest) != 0) return absl::OkStatus();
  RETURN_IF_ERROR(folder_->Write(chunk.digest, files->writing.file, chunk.frame));
  files->digests.insert(chunk.digest);
  return absl::OkStatus();
}

absl::Status ChunkStore::PutSome(absl::Span<const Chunk> chunks) {
  Files files;
  const auto decide = [&](int conflicts) -> absl::StatusOr<std::optional<Transaction>> {
    if (conflicts > 0 && folder_ != nullptr) {
      ASSIGN_OR_RETURN(const bool usable, folder_->IsWriting(files.writing));
      if (!usable) files = {};
    }
    return NewPut(chunks, &files);
  };
  const absl::Status put = store::Update(options_.store, kWhat, decide).status();
  if (!files.writing.file.empty()) folder_->EndWriting(files.writing);
  return put;
}

absl::Status ChunkStore::Put(std::vector<Chunk> chunks) {
  std::unordered_set<std::string> seen;
  std::erase_if(chunks, [&](const Chunk& chunk) { return !seen.insert(chunk.digest).second; });
  for (size_t begin = 0, end = 0; begin < chunks.size(); begin = end) {
    for (size_t bytes = 0; end < chunks.size() && end - begin < kCommitPuts; ++end) {
      bytes += chunks[end].frame.size();
      if (end > begin && bytes > kCommitBytes) break;
    }
    RETURN_IF_ERROR(PutSome(absl::MakeConstSpan(chunks).subspan(begin, end - begin)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ChunkStore::ReadFrame(const std::string& digest) const {
  const auto not_found = [&] { return NotFound("CHUNK_NOT_FOUND", "there is no chunk ", HexEncode(digest)); };
  for (std::string file; folder_ != nullptr;) {
    ASSIGN_OR_RETURN(const std::optional<Found> found, Find(digest));
    if (!found.has_value()) return not_found();
    if (found->info.file().empty()) break;
    absl::StatusOr<std::string> frame = folder_->Read(digest, found->info.file());
    // It may have been put once more since the record was read, and the former file be gone.
    if (frame.ok() || found->info.file() == file) return frame;
    file = found->info.file();
  }
  absl::StatusOr<store::Entry> entry = options_.store->Get(FrameKey(digest));
  if (absl::IsNotFound(entry.status())) return not_found();
  RETURN_IF_ERROR(entry.status());
  return std::move(entry->value);
}

absl::StatusOr<std::shared_ptr<const std::string>> ChunkStore::Get(const std::string& digest) {
  if (auto cached = cache_.Find(digest)) return cached;
  ASSIGN_OR_RETURN(std::string frame, ReadFrame(digest));
  if (!payload::ExpandChunk(frame, digest).ok()) {
    return DataLoss("CHUNK_DAMAGED", "the stored chunk ", HexEncode(digest),
                    " is not what it was when it was stored; look at the disk, and put it back from a backup");
  }
  auto kept = std::make_shared<const std::string>(std::move(frame));
  cache_.Put(digest, kept, kept->size());
  return kept;
}

absl::Status ChunkStore::Release(absl::Span<const absl::string_view> digests) {
  const std::vector<absl::string_view> unique = Unique(digests);
  for (size_t begin = 0; begin < unique.size(); begin += kCommitClaims) {
    const auto decide = [&](int) -> absl::StatusOr<std::optional<Transaction>> {
      Transaction transaction;
      for (const absl::string_view digest : absl::MakeConstSpan(unique).subspan(begin, kCommitClaims)) {
        ASSIGN_OR_RETURN(std::optional<Found> found, Find(digest));
        if (!found.has_value() || !found->info.has_put_time()) continue;
        found->info.clear_put_time();
        transaction.conditions.push_back({InfoKey(digest), found->revision});
        transaction.Set(InfoKey(digest), found->info.SerializeAsString());
      }
      if (transaction.puts.empty()) return std::nullopt;
      return transaction;
    };
    RETURN_IF_ERROR(store::Update(options_.store, kWhat, decide).status());
  }
  return absl::OkStatus();
}

}  // namespace parley::chunks
