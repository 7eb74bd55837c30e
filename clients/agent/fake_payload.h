// Payloads and folders for tests.
#ifndef PARLEY_CLIENTS_AGENT_FAKE_PAYLOAD_H_
#define PARLEY_CLIENTS_AGENT_FAKE_PAYLOAD_H_

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "lib/base/error.h"
#include "lib/crypto/hash.h"
#include "lib/payload/fileset.h"
#include "lib/payload/manifest.h"

namespace parley::agent {

// Maps a path to what is in the file there, or to "-> target" for a link.
using Tree = std::map<std::string, std::string>;

// A folder that is removed after the test. It lies in memory where there is such a place, since tests sync it often.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name =
        absl::StrCat(::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : testing::TempDir(), "/parley.XXXXXX");
    path_ = mkdtemp(name.data());
    chmod(path_.c_str(), 0755);
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return absl::StrCat(path_, "/", name); }

 private:
  std::string path_;
};

inline void WriteTestFile(const std::string& path, const std::string& content) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

inline std::string ReadTestFile(const std::string& path) {
  std::ostringstream content;
  content << std::ifstream(path, std::ios::binary).rdbuf();
  return content.str();
}

// Returns all files and links below a folder, or nothing if there is no folder. An empty folder shows as "name/".
inline Tree ReadTree(const std::string& root) {
  namespace fs = std::filesystem;
  Tree tree;
  if (!fs::exists(root)) return tree;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    const std::string path = fs::relative(entry.path().parent_path(), root) / entry.path().filename();
    const std::string shown = path.substr(0, 2) == "./" ? path.substr(2) : path;
    if (entry.is_symlink()) {
      tree[shown] = absl::StrCat("-> ", fs::read_symlink(entry.path()).string());
    } else if (entry.is_directory()) {
      if (fs::is_empty(entry.path())) tree[shown + "/"] = "";
    } else {
      tree[shown] = ReadTestFile(entry.path());
    }
  }
  return tree;
}

// Returns the tree without the folders that an update in place keeps until it is committed.
inline Tree WithoutEmptyFolders(Tree tree) {
  std::erase_if(tree, [](const auto& entry) { return entry.first.back() == '/'; });
  return tree;
}

inline void WriteTree(const std::string& root, const Tree& tree) {
  std::filesystem::create_directories(root);
  for (const auto& [path, content] : tree) WriteTestFile(root + "/" + path, content);
}

// A set of files with its chunks.
struct FakePayload {
  payload::Files files;
  std::map<std::string, std::string> chunks;

  absl::StatusOr<std::string> Read(absl::string_view digest) const {
    const auto chunk = chunks.find(std::string(digest));
    if (chunk == chunks.end()) return Error(absl::StatusCode::kNotFound, "CHUNK_MISSING", "no such chunk");
    return chunk->second;
  }

  // Returns a manifest without a signature, for code that verifies none.
  task::v1::Manifest Manifest(const std::string& task, int64_t revision) const {
    task::v1::Manifest manifest;
    manifest.set_task(task);
    manifest.set_revision(revision);
    manifest.set_digest(payload::DigestFiles(files));
    manifest.set_size(payload::TotalBytes(files));
    manifest.set_chunk_size(payload::kChunkBytes);
    *manifest.mutable_files() = files;
    return manifest;
  }
};

inline FakePayload MakePayload(const Tree& tree) {
  FakePayload made;
  for (const auto& [path, content] : tree) {
    task::v1::FileEntry* entry = made.files.Add();
    entry->set_path(path);
    if (content.substr(0, 3) == "-> ") {
      entry->set_type(task::v1::FileEntry::TYPE_SYMLINK);
      entry->set_link_target(content.substr(3));
      continue;
    }
    entry->set_type(task::v1::FileEntry::TYPE_REGULAR);
    entry->set_mode(0644);
    entry->set_size(static_cast<int64_t>(content.size()));
    entry->set_sha256(crypto::Sha256(content));
    for (size_t start = 0; start < content.size(); start += payload::kChunkBytes) {
      const std::string chunk = content.substr(start, payload::kChunkBytes);
      entry->add_chunks(crypto::Sha256(chunk));
      made.chunks[crypto::Sha256(chunk)] = chunk;
    }
  }
  return made;
}

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_FAKE_PAYLOAD_H_
