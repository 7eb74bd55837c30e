#include "lib/chunks/chunk_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/chunks/chunks.pb.h"
#include "lib/chunks/keys.h"
#include "lib/crypto/kdf.h"
#include "lib/store/update.h"

namespace parley::chunks {
namespace {

constexpr char kIdFile[] = "parley-chunks";
constexpr size_t kIdBytes = 16;
constexpr size_t kFileBytes = 8;
constexpr size_t kDigestBytes = 32;
constexpr size_t kMaxFrameBytes = 1 << 20;
constexpr absl::Duration kLongestWriting = absl::Minutes(10);

struct Stored {
  ChunkFolderRecord record;
  int64_t revision = 0;
};

absl::StatusOr<ChunkFolderRecord> ParseRecord(absl::string_view value) {
  ChunkFolderRecord record;
  if (record.ParseFromArray(value.data(), static_cast<int>(value.size()))) return record;
  return DataLoss("RECORD_DAMAGED", "the stored record ", kFolderKey, " can not be read; restore a backup");
}

absl::StatusOr<Stored> ReadRecord(store::Store* store) {
  Stored stored;
  const absl::StatusOr<store::Entry> entry = store->Get(kFolderKey);
  if (absl::IsNotFound(entry.status())) return stored;
  RETURN_IF_ERROR(entry.status());
  stored.revision = entry->mod_revision;
  ASSIGN_OR_RETURN(stored.record, ParseRecord(entry->value));
  return stored;
}

// Returns nothing if there is none.
absl::StatusOr<std::string> ReadId(const std::string& folder) {
  absl::StatusOr<std::string> id = ReadFile(absl::StrCat(folder, "/", kIdFile), 100);
  if (absl::IsNotFound(id.status())) return std::string();
  RETURN_IF_ERROR(id.status());
  return std::string(absl::StripAsciiWhitespace(*id));
}

absl::Status OtherFolder(const std::string& path) {
  return FailedPrecondition("CHUNK_FOLDER_OTHER", path, " has the chunks of another store; name this one's folder");
}

// Which folder it is must be known before anything is written to it, and must not depend on who is killed when: first
// the store has the id, then the folder, and then the store says that the folder has it.
absl::StatusOr<std::optional<store::Transaction>> Adopt(store::Store* store, const std::string& path) {
  ASSIGN_OR_RETURN(Stored stored, ReadRecord(store));
  ASSIGN_OR_RETURN(const std::string id, ReadId(path));
  store::Transaction next;
  next.conditions.push_back({std::string(kFolderKey), stored.revision});
  if (stored.revision == 0) {
    if (!id.empty()) return OtherFolder(path);
    stored.record.set_id(HexEncode(crypto::RandomBytes(kIdBytes)));
  } else if (id.empty() && stored.record.ready()) {
    return FailedPrecondition("CHUNK_FOLDER_OTHER", path, " is not the folder that has this store's chunks",
                              stored.record.path() == path ? "" : " (that was " + stored.record.path() + ")",
                              "; is the volume mounted?");
  } else if (!id.empty() && id != stored.record.id()) {
    return OtherFolder(path);
  } else if (stored.record.ready() && stored.record.path() == path) {
    return std::nullopt;
  } else {
    RETURN_IF_ERROR(WriteFileAtomically(absl::StrCat(path, "/", kIdFile), stored.record.id() + "\n", 0644));
    stored.record.set_ready(true);
  }
  stored.record.set_path(path);
  next.Set(std::string(kFolderKey), stored.record.SerializeAsString());
  return next;
}

// The names in a folder but "." and "..".
absl::StatusOr<std::vector<std::string>> Names(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir(path.c_str()), &closedir);
  if (folder == nullptr && errno == ENOENT) return std::vector<std::string>();
  if (folder == nullptr) return FileError("read", path, errno);
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* const entry = readdir(folder.get())) {
    names.emplace_back(entry->d_name);
    errno = 0;
  }
  if (errno != 0) return FileError("read", path, errno);
  return names;
}

}  // namespace

absl::Status ChunkFolder::Check(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
    return FailedPrecondition("CHUNK_FOLDER_MISSING", "there is no folder ", path,
                              "; mount the volume of chunks there, or make the folder");
  }
  return access(path.c_str(), R_OK | W_OK | X_OK) == 0 ? absl::OkStatus() : FileError("write to", path, errno);
}

absl::StatusOr<std::unique_ptr<ChunkFolder>> ChunkFolder::Open(store::Store* store, std::string path) {
  RETURN_IF_ERROR(Check(path));
  // Until there is nothing left to do.
  for (int64_t revision = 1; revision > 0;) {
    ASSIGN_OR_RETURN(revision, store::Update(store, "the folder of chunks", [&](int) { return Adopt(store, path); }));
  }
  return std::unique_ptr<ChunkFolder>(new ChunkFolder(store, std::move(path)));
}

absl::StatusOr<std::string> FindChunkFolder(store::Store* store) {
  ASSIGN_OR_RETURN(Stored stored, ReadRecord(store));
  return std::move(*stored.record.mutable_path());
}

absl::StatusOr<std::string> ParseChunkFolder(absl::string_view value) {
  ASSIGN_OR_RETURN(ChunkFolderRecord record, ParseRecord(value));
  return std::move(*record.mutable_path());
}

std::string ChunkFolder::PathOf(absl::string_view digest, absl::string_view file) const {
  const std::string name = HexEncode(digest);
  return absl::StrCat(path_, "/", name.substr(0, 2), "/", name, ".", file);
}

absl::StatusOr<ChunkFolder::Writing> ChunkFolder::BeginWriting() const {
  Writing writing{HexEncode(crypto::RandomBytes(kFileBytes))};
  ASSIGN_OR_RETURN(writing.lease, store_->GrantLease(kLongestWriting));
  const std::string key = WritingKey(writing.file);
  ASSIGN_OR_RETURN(writing.revision, store_->Commit(store::Transaction().Set(key, "", writing.lease)));
  return writing;
}

absl::StatusOr<bool> ChunkFolder::IsWriting(const Writing& writing) const {
  if (writing.file.empty()) return false;
  const absl::Status found = store_->Get(WritingKey(writing.file)).status();
  if (!absl::IsNotFound(found)) RETURN_IF_ERROR(found);
  return found.ok();
}

void ChunkFolder::Require(const Writing& writing, store::Transaction* commit) {
  commit->conditions.push_back({WritingKey(writing.file), writing.revision});
}

void ChunkFolder::EndWriting(const Writing& writing) const { (void)store_->RevokeLease(writing.lease); }

absl::Status ChunkFolder::Write(absl::string_view digest, absl::string_view file, absl::string_view frame) const {
  const std::string path = PathOf(digest, file), folder = FolderOf(path);
  if (mkdir(folder.c_str(), 0700) == 0) {
    RETURN_IF_ERROR(SyncFolder(path_));
  } else if (errno != EEXIST) {
    return FileError("make the folder", folder, errno);
  }
  return WriteFileAtomically(path, frame, 0600);
}

absl::StatusOr<std::string> ChunkFolder::Read(absl::string_view digest, absl::string_view file) const {
  const std::string path = PathOf(digest, file);
  absl::StatusOr<std::string> frame = ReadFile(path, kMaxFrameBytes);
  if (!absl::IsNotFound(frame.status())) return frame;
  return DataLoss("CHUNK_MISSING", "the chunk ", path, " is missing; publish its payload again, or put the file back");
}

bool ChunkFolder::Holds(absl::string_view digest, absl::string_view file, int64_t size) const {
  struct stat info;
  return stat(PathOf(digest, file).c_str(), &info) == 0 && S_ISREG(info.st_mode) && info.st_size == size;
}

absl::StatusOr<std::vector<ChunkFolder::File>> ChunkFolder::List() const {
  std::vector<File> files;
  for (int first = 0; first < 256; ++first) {
    const std::string folder = absl::StrCat(path_, "/", absl::Hex(first, absl::kZeroPad2));
    ASSIGN_OR_RETURN(const std::vector<std::string> names, Names(folder));
    for (const std::string& name : names) {
      // One that was being written has a third part.
      if (name.size() < 2 * (kDigestBytes + kFileBytes) + 1 || name[2 * kDigestBytes] != '.') continue;
      const std::optional<std::string> digest = HexDecode(name.substr(0, 2 * kDigestBytes));
      const std::string file = name.substr(2 * kDigestBytes + 1, 2 * kFileBytes);
      if (!digest.has_value() || !HexDecode(file).has_value()) continue;
      files.push_back({*digest, file, absl::StrCat(folder, "/", name)});
    }
  }
  return files;
}

absl::Status ChunkFolder::Remove(const std::string& path) {
  return unlink(path.c_str()) == 0 || errno == ENOENT ? absl::OkStatus() : FileError("remove", path, errno);
}

}  // namespace parley::chunks
