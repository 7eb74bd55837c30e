// What a service keeps: which files make up its part of a backup.
#ifndef PARLEY_LIB_BACKUP_PARTS_H_
#define PARLEY_LIB_BACKUP_PARTS_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace parley::backup {

struct Part {
  std::string service;
  // Relative to the service's folder, like what follows.
  std::string database;
  // Those that are there. Copied before the database: what a database refers to was there before it.
  std::vector<std::string> files;
};

// In the order in which they are copied: who refers to others comes before them.
const std::vector<Part>& Parts();

// Null for a service that there is not.
const Part* FindPart(absl::string_view service);
// Whether "keyd/credentials/admin.credential" and the like may be in an archive.
bool IsPartOf(const Part& part, absl::string_view entry_name);

}  // namespace parley::backup

#endif  // PARLEY_LIB_BACKUP_PARTS_H_
