// Writes a payload into a tree that is not in use yet.
#ifndef PARLEY_CLIENTS_AGENT_NEW_TREE_H_
#define PARLEY_CLIENTS_AGENT_NEW_TREE_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "parley/task/v1/manifest.pb.h"

namespace parley::agent {

// Removes the folders above these paths that are empty now.
void RemoveEmptyFolders(int root, const google::protobuf::RepeatedPtrField<std::string>& paths);

// Creates every file, link and folder of the manifest below `root`, where none of them is yet. A file that stands at
// its path below `old` (below 0: none) gives it its owner. Each file must come to its SHA-256 (FILE_DIGEST).
// TARGET_CONFLICT when something else stands in the way; `shown` is the target's name in errors.
absl::Status WriteFiles(int root, int old, const task::v1::Manifest& manifest,
                        const std::function<absl::StatusOr<std::string>(absl::string_view digest)>& read_chunk,
                        const std::string& shown);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_NEW_TREE_H_
