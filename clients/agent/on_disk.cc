#include "clients/agent/on_disk.h"

#include "lib/base/error.h"

namespace parley::agent {

absl::StatusOr<payload::Files> ScanOnDisk(const TargetFolder& folder, const std::string& path) {
  payload::Files wanted;
  wanted.Add()->set_path(folder.OnDisk(path));
  ASSIGN_OR_RETURN(payload::Files found, payload::ScanInstalled(folder.root_path(), wanted));
  for (task::v1::FileEntry& entry : found) entry.set_path(path);
  return found;
}

}  // namespace parley::agent
