// File sets as an attacker would write them: what passes must stay below its root, wherever its links lead.
#include <stdlib.h>

#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "lib/payload/fileset.h"

namespace parley::payload {
namespace {

using Links = std::map<std::string, std::string>;

// Follows a path as a kernel would, link by link, and aborts when it climbs above the root.
void FollowInside(const Links& links, const std::string& path) {
  std::vector<std::string> here;
  std::vector<std::string> todo = absl::StrSplit(path, '/');
  std::reverse(todo.begin(), todo.end());
  for (int steps = 0; !todo.empty() && steps < 2000; ++steps) {
    const std::string part = todo.back();
    todo.pop_back();
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (here.empty()) abort();
      here.pop_back();
      continue;
    }
    here.push_back(part);
    std::string name;
    for (const std::string& folder : here) name += (name.empty() ? "" : "/") + folder;
    const auto link = links.find(name);
    if (link == links.end()) continue;
    if (link->second[0] == '/') abort();
    here.pop_back();
    std::vector<std::string> target = absl::StrSplit(link->second, '/');
    todo.insert(todo.end(), target.rbegin(), target.rend());
  }
}

void Check(const Files& files) {
  if (!ValidateFiles(files).ok()) return;
  Links links;
  int64_t total = 0;
  for (const task::v1::FileEntry& entry : files) {
    if (entry.type() == task::v1::FileEntry::TYPE_SYMLINK) links[entry.path()] = entry.link_target();
    if (entry.mode() > 0777 || entry.size() < 0 || entry.path().find('\0') != std::string::npos) abort();
    total += entry.size();
  }
  if (total > kMaxPayloadBytes || total != TotalBytes(files)) abort();
  for (const task::v1::FileEntry& entry : files) {
    // An entry is written where its path says: nothing above it is a link or a file.
    for (size_t slash = entry.path().find('/'); slash != std::string::npos; slash = entry.path().find('/', slash + 1)) {
      for (const task::v1::FileEntry& other : files) {
        if (other.path() == entry.path().substr(0, slash)) abort();
      }
    }
    FollowInside(links, entry.path());
  }
  if (DigestFiles(files) != DigestFiles(files) || DigestFiles(files).size() != 32) abort();
}

}  // namespace
}  // namespace parley::payload

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  parley::task::v1::Manifest manifest;
  if (manifest.ParseFromArray(data, static_cast<int>(size)) && manifest.files_size() < 200) {
    parley::payload::Check(manifest.files());
  }
  return 0;
}
