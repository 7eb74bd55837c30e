// Writes the files of a revision into a new folder.
//
// Threads: a free function, which blocks.
#ifndef PARLEY_CLIENTS_OPERATOR_REVISION_FOLDER_H_
#define PARLEY_CLIENTS_OPERATOR_REVISION_FOLDER_H_

#include <string>

#include "absl/status/status.h"
#include "clients/operator/revisions.h"
#include "parley/task/v1/manifest.pb.h"

namespace parley::ops {

// Returns OK if the folder is not there, or is empty, and could be made. Returns ALREADY_EXISTS (FOLDER_NOT_EMPTY), or
// the errors of FileError (lib/base/file.h).
absl::Status CanWriteRevision(const std::string& folder);

// Fetches the files of the manifest, which the reader has verified, into a folder beside `folder`, and moves that into
// place when all of them are there. Only this user may enter the folders; the files have the modes of the manifest. If
// it fails, nothing is left behind. Returns the errors of CanWriteRevision, RevisionReader::Fetch and FileError.
absl::Status WriteRevision(const RevisionReader& reader, const task::v1::Manifest& manifest, const std::string& folder);

}  // namespace parley::ops

#endif  // PARLEY_CLIENTS_OPERATOR_REVISION_FOLDER_H_
