#include "lib/base/memory.h"

#include <unistd.h>

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "lib/base/file.h"

namespace parley {
namespace {

constexpr int64_t kMaxFileBytes = 64 * 1024;

}  // namespace

int64_t UsableMemory(const std::string& cgroup, const std::string& self) {
  int64_t bytes = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  const auto limit = [&bytes](const std::string& path) {
    const auto text = ReadFile(path, kMaxFileBytes);
    // "max" in version 2, a number larger than any memory in version 1.
    int64_t found = 0;
    if (text.ok() && absl::SimpleAtoi(*text, &found) && found > 0) bytes = std::min(bytes, found);
  };
  if (const auto groups = ReadFile(self, kMaxFileBytes); groups.ok()) {
    for (absl::string_view line : absl::StrSplit(*groups, '\n')) {
      if (absl::ConsumePrefix(&line, "0::")) limit(absl::StrCat(cgroup, line, "/memory.max"));
    }
  }
  // The process may be in a container, which sees its own group as the root.
  limit(cgroup + "/memory.max");
  limit(cgroup + "/memory/memory.limit_in_bytes");
  return bytes;
}

}  // namespace parley
