// The HTTP answer of an RPC that streams: newline-delimited JSON in chunks, with gzip if the peer asks for it. A peer
// can read every line as soon as its chunk has come.
//
// Threads: one at a time.
#ifndef PARLEY_LIB_REST_LINE_STREAM_H_
#define PARLEY_LIB_REST_LINE_STREAM_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "lib/rest/gzip.h"

namespace parley::rest {

class LineStream {
 public:
  explicit LineStream(bool gzip);

  // Return the bytes to send: first the header, then each line with its '\n', then the end.
  std::string Head() const;
  std::string Line(absl::string_view line);
  std::string End();

 private:
  std::optional<GzipStream> gzip_;
};

}  // namespace parley::rest

#endif  // PARLEY_LIB_REST_LINE_STREAM_H_
