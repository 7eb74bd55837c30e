// Says which files of a service make up its part of a backup.
#ifndef PARLEY_LIB_BACKUP_PARTS_H_
#define PARLEY_LIB_BACKUP_PARTS_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace parley::backup {

struct Part {
  std::string service;
  // The database's file. This path and the ones below are relative to the service's folder.
  std::string database;
  // Further files, as far as they exist. They are copied before the database, so that what it refers to is there.
  std::vector<std::string> files;
};

// Returns the parts in the order in which they are copied: a service that refers to others comes before them.
const std::vector<Part>& Parts();

// Returns null for an unknown service.
const Part* FindPart(absl::string_view service);
// Returns whether an archive may hold an entry of this name, such as "keyd/credentials/admin.credential".
bool IsPartOf(const Part& part, absl::string_view entry_name);

}  // namespace parley::backup

#endif  // PARLEY_LIB_BACKUP_PARTS_H_
