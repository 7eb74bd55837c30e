// Brings the content of a payload to the server: only the chunks that the server lacks.
//
// Threads: a free function, which blocks. Several uploads may share a connection.
#ifndef PARLEY_CLIENTS_OPERATOR_UPLOAD_H_
#define PARLEY_CLIENTS_OPERATOR_UPLOAD_H_

#include <cstddef>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "clients/operator/connection.h"
#include "lib/payload/fileset.h"

namespace parley::ops {

// Hears how many chunks of how many were sent, after each, on the thread that uploads. At the end, whether all were
// sent or not, both are 0.
using UploadProgress = std::function<void(size_t sent, size_t total)>;

// `files` is what ScanPayload(path) gave. `progress` may be null. Returns ABORTED (FILE_CHANGED) if the payload has
// changed since then, or the errors of ScanPayload and of Connection::Explain.
absl::Status UploadPayload(const Connection& server, const std::string& path, const payload::Files& files,
                           const UploadProgress& progress);

}  // namespace parley::ops

#endif  // PARLEY_CLIENTS_OPERATOR_UPLOAD_H_
