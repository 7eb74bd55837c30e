#include "lib/rest/line_stream.h"

#include "absl/strings/str_cat.h"

namespace parley::rest {
namespace {

constexpr absl::string_view kLastChunk = "0\r\n\r\n";

std::string Chunk(absl::string_view bytes) { return absl::StrCat(absl::Hex(bytes.size()), "\r\n", bytes, "\r\n"); }

}  // namespace

LineStream::LineStream(bool gzip) {
  if (gzip) gzip_.emplace();
}

std::string LineStream::Head() const {
  return absl::StrCat("HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nCache-Control: no-store\r\n",
                      "X-Content-Type-Options: nosniff\r\nVary: Accept-Encoding\r\n",
                      gzip_.has_value() ? "Content-Encoding: gzip\r\n" : "",
                      "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
}

std::string LineStream::Line(absl::string_view line) {
  return gzip_.has_value() ? Chunk(gzip_->Add(line)) : Chunk(line);
}

std::string LineStream::End() { return absl::StrCat(gzip_.has_value() ? Chunk(gzip_->End()) : "", kLastChunk); }

}  // namespace parley::rest
