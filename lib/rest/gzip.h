// Compresses and expands gzip (RFC 1952).
//
// Threads: free functions without state; a GzipStream belongs to one thread at a time.
#ifndef PARLEY_LIB_REST_GZIP_H_
#define PARLEY_LIB_REST_GZIP_H_

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct z_stream_s;

namespace parley::rest {

std::string Gzip(absl::string_view plain);
// Returns INVALID_ARGUMENT: GZIP_MALFORMED if `zipped` is not one whole member, BODY_TOO_LARGE if it holds more than
// `max_bytes`.
absl::StatusOr<std::string> Gunzip(absl::string_view zipped, size_t max_bytes);

// Compresses one member that comes piece by piece. It takes some 70 KiB, because many may be open at a time.
class GzipStream {
 public:
  GzipStream();
  ~GzipStream();
  // Returns the next bytes. All that was added so far can be read from what was returned so far.
  std::string Add(absl::string_view plain);
  // Returns the end. Must be called once, after the last piece.
  std::string End();

 private:
  const std::unique_ptr<z_stream_s> stream_;
};

}  // namespace parley::rest

#endif  // PARLEY_LIB_REST_GZIP_H_
