// Brings a payload's content to the server: only the chunks that it lacks.
//
// Threads: blocks; calls on one connection may run at once.
#ifndef PARLEY_CLIENTS_OPERATOR_UPLOAD_H_
#define PARLEY_CLIENTS_OPERATOR_UPLOAD_H_

#include <cstddef>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "clients/operator/connection.h"
#include "lib/payload/fileset.h"

namespace parley::ops {

// Hears of each chunk that was sent, on the thread that uploads: how many of them were, of how many. At the end,
// whether all were sent or not, both are 0.
using UploadProgress = std::function<void(size_t sent, size_t total)>;

// `files` is what ScanPayload(path) gave. `progress` may be null. The errors are ABORTED (FILE_CHANGED) when the
// payload has changed since then, those of ScanPayload, and those of Connection::Explain.
absl::Status UploadPayload(const Connection& server, const std::string& path, const payload::Files& files,
                           const UploadProgress& progress);

}  // namespace parley::ops

#endif  // PARLEY_CLIENTS_OPERATOR_UPLOAD_H_
