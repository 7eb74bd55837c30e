// Brings a payload's content to the server: only the chunks that it lacks.
#ifndef PARLEY_CLIENTS_CLI_UPLOAD_H_
#define PARLEY_CLIENTS_CLI_UPLOAD_H_

#include <string>

#include "absl/status/status.h"
#include "clients/cli/connection.h"
#include "lib/payload/fileset.h"

namespace parley::cli {

// `files` is what ScanPayload(path) gave. ABORTED (FILE_CHANGED) when the payload has changed since then. Shows
// progress on a terminal when `show` is true.
absl::Status UploadPayload(const Connection& server, const std::string& path, const payload::Files& files, bool show);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_UPLOAD_H_
