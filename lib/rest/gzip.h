// gzip, RFC 1952.
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
// INVALID_ARGUMENT: GZIP_MALFORMED (not one whole member), BODY_TOO_LARGE (it holds more than `max_bytes`).
absl::StatusOr<std::string> Gunzip(absl::string_view zipped, size_t max_bytes);

// One member that comes piece by piece. Some 70 KiB, because many may be open at a time.
class GzipStream {
 public:
  GzipStream();
  ~GzipStream();
  // From all that was returned so far can be read all that was added so far.
  std::string Add(absl::string_view plain);
  // Once, after the last piece.
  std::string End();

 private:
  const std::unique_ptr<z_stream_s> stream_;
};

}  // namespace parley::rest

#endif  // PARLEY_LIB_REST_GZIP_H_
