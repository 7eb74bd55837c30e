#include "lib/rest/gzip.h"

#include <zlib.h>

#include "lib/base/error.h"

namespace parley::rest {
namespace {

// 15 is the largest window; 16 more means gzip's frame.
constexpr int kWindowBits = 15 + 16;
constexpr int kMemoryLevel = 8;
// JSON shrinks as much by level 1 as anybody needs on a line of today, in a third of the time.
constexpr int kLevel = 1;
// 2^(bits + 2) + 2^(level + 9) bytes a stream.
constexpr int kStreamWindowBits = 13 + 16;
constexpr int kStreamMemoryLevel = 6;
constexpr size_t kStepBytes = 64 * 1024;

Bytef* Bytes(const char* text) { return reinterpret_cast<Bytef*>(const_cast<char*>(text)); }

std::string Deflate(z_stream* stream, absl::string_view plain, int flush) {
  // The bound has no room for the mark of a flush.
  std::string zipped(deflateBound(stream, plain.size()) + 16, '\0');
  stream->next_in = Bytes(plain.data());
  stream->avail_in = static_cast<uInt>(plain.size());
  stream->next_out = Bytes(zipped.data());
  stream->avail_out = static_cast<uInt>(zipped.size());
  deflate(stream, flush);
  zipped.resize(zipped.size() - stream->avail_out);
  return zipped;
}

}  // namespace

std::string Gzip(absl::string_view plain) {
  z_stream stream{};
  deflateInit2(&stream, kLevel, Z_DEFLATED, kWindowBits, kMemoryLevel, Z_DEFAULT_STRATEGY);
  std::string zipped = Deflate(&stream, plain, Z_FINISH);
  deflateEnd(&stream);
  return zipped;
}

absl::StatusOr<std::string> Gunzip(absl::string_view zipped, size_t max_bytes) {
  z_stream stream{};
  inflateInit2(&stream, kWindowBits);
  stream.next_in = Bytes(zipped.data());
  stream.avail_in = static_cast<uInt>(zipped.size());
  std::string plain;
  int result = Z_OK;
  while (result == Z_OK && plain.size() <= max_bytes) {
    const size_t before = plain.size();
    plain.resize(before + kStepBytes);
    stream.next_out = Bytes(plain.data() + before);
    stream.avail_out = kStepBytes;
    result = inflate(&stream, Z_NO_FLUSH);
    plain.resize(plain.size() - stream.avail_out);
  }
  inflateEnd(&stream);
  if (plain.size() > max_bytes) {
    return InvalidArgument("BODY_TOO_LARGE", "the body unpacks to more than ", max_bytes,
                           " bytes; upload large payloads in chunks");
  }
  if (result != Z_STREAM_END || stream.avail_in != 0) {
    return InvalidArgument("GZIP_MALFORMED",
                           "the body is not one whole gzip member; leave Content-Encoding out, or pack it anew");
  }
  return plain;
}

GzipStream::GzipStream() : stream_(std::make_unique<z_stream>()) {
  deflateInit2(stream_.get(), kLevel, Z_DEFLATED, kStreamWindowBits, kStreamMemoryLevel, Z_DEFAULT_STRATEGY);
}

GzipStream::~GzipStream() { deflateEnd(stream_.get()); }

std::string GzipStream::Add(absl::string_view plain) { return Deflate(stream_.get(), plain, Z_SYNC_FLUSH); }

std::string GzipStream::End() { return Deflate(stream_.get(), "", Z_FINISH); }

}  // namespace parley::rest
