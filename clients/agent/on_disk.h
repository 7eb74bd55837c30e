// What is on the disk at a path of a payload.
//
// Threads: any thread may call the functions.
#ifndef PARLEY_CLIENTS_AGENT_ON_DISK_H_
#define PARLEY_CLIENTS_AGENT_ON_DISK_H_

#include <string>

#include "absl/status/statusor.h"
#include "clients/agent/target_folder.h"
#include "lib/payload/fileset.h"

namespace parley::agent {

// Returns the entry, under the payload's name for it, or none if the target has no file or link there. Returns the
// errors of payload::ScanInstalled.
absl::StatusOr<payload::Files> ScanOnDisk(const TargetFolder& folder, const std::string& path);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_ON_DISK_H_
