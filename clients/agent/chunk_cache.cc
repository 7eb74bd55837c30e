#include "clients/agent/chunk_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"
#include "lib/crypto/hash.h"
#include "lib/payload/chunk.h"
#include "lib/payload/fileset.h"

namespace parley::agent {
namespace {

absl::Status WriteTo(const std::string& path, int flags, absl::string_view bytes) {
  const Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | flags, 0600));
  if (!fd.ok()) return FileError("write", path, errno);
  return WriteAll(fd.get(), path, bytes);
}

}  // namespace

absl::StatusOr<ChunkCache> ChunkCache::Open(const std::string& folder) {
  RETURN_IF_ERROR(MakeFolders(folder, 0700));
  return ChunkCache(folder);
}

std::string ChunkCache::PathOf(absl::string_view digest) const { return absl::StrCat(folder_, "/", HexEncode(digest)); }
std::string ChunkCache::PartOf(absl::string_view digest) const { return absl::StrCat(PathOf(digest), ".part"); }

bool ChunkCache::Has(absl::string_view digest) const { return ::access(PathOf(digest).c_str(), F_OK) == 0; }

absl::StatusOr<std::string> ChunkCache::Read(absl::string_view digest) const {
  absl::StatusOr<std::string> content = ReadFile(PathOf(digest), payload::kChunkBytes);
  if (content.ok() && crypto::Sha256(*content) == digest) return content;
  if (content.ok()) unlink(PathOf(digest).c_str());
  return Error(absl::StatusCode::kNotFound, "CHUNK_MISSING",
               absl::StrCat("chunk ", HexEncode(digest), " was lost or damaged in ", folder_));
}

// Not synced: after a power cut, what is wrong is found by Read and fetched again.
absl::Status ChunkCache::Put(absl::string_view digest, absl::string_view content) {
  const std::string fresh = absl::StrCat(PathOf(digest), ".new");
  absl::Status status = WriteTo(fresh, O_TRUNC, content);
  if (status.ok() && rename(fresh.c_str(), PathOf(digest).c_str()) != 0) status = FileError("write", fresh, errno);
  if (!status.ok()) unlink(fresh.c_str());
  return status;
}

int64_t ChunkCache::PartBytes(absl::string_view digest) const {
  struct stat info;
  return stat(PartOf(digest).c_str(), &info) == 0 ? info.st_size : 0;
}

absl::Status ChunkCache::Append(absl::string_view digest, absl::string_view data) {
  return WriteTo(PartOf(digest), O_APPEND, data);
}

absl::Status ChunkCache::Complete(absl::string_view digest) {
  const absl::StatusOr<std::string> frame = ReadFile(PartOf(digest), payload::kMaxFrameBytes);
  absl::Cleanup remove_it = [path = PartOf(digest)] { unlink(path.c_str()); };
  RETURN_IF_ERROR(frame.status());
  ASSIGN_OR_RETURN(const std::string content, payload::ExpandChunk(*frame, digest));
  return Put(digest, content);
}

bool ChunkCache::CompleteIfWhole(absl::string_view digest) {
  const absl::StatusOr<std::string> frame = ReadFile(PartOf(digest), payload::kMaxFrameBytes);
  return frame.ok() && payload::ExpandChunk(*frame, digest).ok() && Complete(digest).ok();
}

void ChunkCache::DropPart(absl::string_view digest) { unlink(PartOf(digest).c_str()); }

absl::Status ChunkCache::Prune(const std::set<std::string>& digests) {
  std::set<std::string> names;
  for (const std::string& digest : digests) {
    names.insert(HexEncode(digest));
    names.insert(absl::StrCat(HexEncode(digest), ".part"));
  }
  DIR* stream = opendir(folder_.c_str());
  if (stream == nullptr) return FileError("read", folder_, errno);
  absl::Cleanup close_it = [stream] { closedir(stream); };
  while (const dirent* entry = readdir(stream)) {
    const std::string name = entry->d_name;
    if (name == "." || name == ".." || names.count(name) > 0) continue;
    if (unlinkat(dirfd(stream), name.c_str(), 0) != 0)
      return FileError("remove", absl::StrCat(folder_, "/", name), errno);
  }
  return absl::OkStatus();
}

}  // namespace parley::agent
