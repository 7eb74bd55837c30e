// What is really there of a payload's path.
#ifndef PARLEY_CLIENTS_AGENT_ON_DISK_H_
#define PARLEY_CLIENTS_AGENT_ON_DISK_H_

#include <string>

#include "absl/status/statusor.h"
#include "clients/agent/target_folder.h"
#include "lib/payload/fileset.h"

namespace parley::agent {

// The entry under the payload's name for it, or none when the target has no file or link there. Errors of
// payload::ScanInstalled.
absl::StatusOr<payload::Files> ScanOnDisk(const TargetFolder& folder, const std::string& path);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_ON_DISK_H_
