// A folder of chunks that the replicas of a service share, such as a ReadWriteMany volume.
//
// Each writing has names of its own, {2 digits}/{digest}.{file}, and what counts is the record in the store that says
// which one. So a file never changes, whoever removes one that is named no more removes nothing else, and a file that
// was written for nothing is known by having no record.
//
// Threads: all methods may be called from any thread; they block on the disk, and some on the store.
#ifndef PARLEY_LIB_CHUNKS_CHUNK_FOLDER_H_
#define PARLEY_LIB_CHUNKS_CHUNK_FOLDER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/store/store.h"

namespace parley::chunks {

class ChunkFolder {
 public:
  struct File {
    // In bytes.
    std::string digest;
    // ChunkInfo.file
    std::string file;
    std::string path;
  };
  struct Writing {
    // ChunkInfo.file; empty for none.
    std::string file;
    // The revision of the entry that says so.
    int64_t revision = 0;
    store::LeaseId lease = 0;
  };

  // Makes sure that the folder is the one that has the chunks of this store, which must outlive the result. An empty
  // one becomes that if there is none yet. Returns FAILED_PRECONDITION: CHUNK_FOLDER_MISSING, CHUNK_FOLDER_OTHER;
  // PERMISSION_DENIED (FILE_PERMISSION); the errors of the store and of files.
  static absl::StatusOr<std::unique_ptr<ChunkFolder>> Open(store::Store* store, std::string path);
  // Returns FAILED_PRECONDITION (CHUNK_FOLDER_MISSING) or PERMISSION_DENIED (FILE_PERMISSION) for a path that Open
  // would refuse whatever the store has.
  static absl::Status Check(const std::string& path);

  // Says that files of a new name are about to be written, for ten minutes at most. Returns the errors of the store.
  absl::StatusOr<Writing> BeginWriting() const;
  // Returns whether that still stands. Returns the errors of the store.
  absl::StatusOr<bool> IsWriting(const Writing& writing) const;
  // Adds to the commit that makes the files count that it fails otherwise.
  static void Require(const Writing& writing, store::Transaction* commit);
  // Says that nothing more comes; otherwise that shows when the time is over.
  void EndWriting(const Writing& writing) const;
  // Writes a frame, durably. Returns the errors of files.
  absl::Status Write(absl::string_view digest, absl::string_view file, absl::string_view frame) const;
  // Returns DATA_LOSS (CHUNK_MISSING) if there is no such file.
  absl::StatusOr<std::string> Read(absl::string_view digest, absl::string_view file) const;
  // Returns whether there is such a file of this size.
  bool Holds(absl::string_view digest, absl::string_view file, int64_t size) const;
  // Returns all files that Write has made, in whole or in part. What has another name is none of ours. Returns the
  // errors of files.
  absl::StatusOr<std::vector<File>> List() const;
  // Removes a file, unless it is gone already. Returns the errors of files.
  static absl::Status Remove(const std::string& path);
  absl::Status Remove(absl::string_view digest, absl::string_view file) const { return Remove(PathOf(digest, file)); }

 private:
  ChunkFolder(store::Store* store, std::string path) : store_(store), path_(std::move(path)) {}
  std::string PathOf(absl::string_view digest, absl::string_view file) const;

  store::Store* const store_;
  const std::string path_;
};

// Returns where the folder was when it was opened last, or nothing if the store has none. Returns the errors of the
// store.
absl::StatusOr<std::string> FindChunkFolder(store::Store* store);

// Does so from the value of the store's entry, which stands at kFolderKey. Returns DATA_LOSS (RECORD_DAMAGED).
absl::StatusOr<std::string> ParseChunkFolder(absl::string_view value);

}  // namespace parley::chunks

#endif  // PARLEY_LIB_CHUNKS_CHUNK_FOLDER_H_
