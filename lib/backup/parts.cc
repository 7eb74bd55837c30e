#include "lib/backup/parts.h"

#include <algorithm>

#include "absl/strings/strip.h"

namespace parley::backup {

const std::vector<Part>& Parts() {
  static const auto* const parts = new std::vector<Part>{
      {"taskd", "taskd.db", {"seal.key"}},
      {"enrolld", "enrolld.db", {}},
      {"keyd",
       "keyd.db",
       {"kek", "credentials/admin.credential", "credentials/operator.credential", "credentials/taskd.credential",
        "credentials/enrolld.credential"}},
  };
  return *parts;
}

const Part* FindPart(absl::string_view service) {
  for (const Part& part : Parts()) {
    if (part.service == service) return &part;
  }
  return nullptr;
}

bool IsPartOf(const Part& part, absl::string_view entry_name) {
  if (!absl::ConsumePrefix(&entry_name, part.service + "/")) return false;
  return entry_name == part.database || std::count(part.files.begin(), part.files.end(), entry_name) == 1;
}

}  // namespace parley::backup
