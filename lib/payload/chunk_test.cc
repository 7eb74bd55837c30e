#include "lib/payload/chunk.h"

#include <zstd.h>

#include "gtest/gtest.h"
#include "lib/base/error.h"
#include "lib/crypto/hash.h"
#include "lib/payload/fileset.h"

namespace parley::payload {
namespace {

std::string ReasonOf(absl::string_view frame, absl::string_view content) {
  return Reason(ExpandChunk(frame, crypto::Sha256(content)).status());
}

// A frame as zstd makes it by stream, with no content size in its header.
std::string FrameWithoutSize(const std::string& content) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
  std::string frame(ZSTD_compressBound(content.size()), '\0');
  frame.resize(ZSTD_compress2(context, frame.data(), frame.size(), content.data(), content.size()));
  ZSTD_freeCCtx(context);
  return frame;
}

TEST(Chunk, RoundTripsContentOfEverySizeUpToTheLimit) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{1000}, static_cast<size_t>(kChunkBytes)}) {
    std::string content(size, '\0');
    uint32_t state = 1;  // Incompressible.
    for (char& c : content) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
    const std::string frame = CompressChunk(content);
    EXPECT_LE(frame.size(), kMaxFrameBytes);
    const auto expanded = ExpandChunk(frame, crypto::Sha256(content));
    ASSERT_TRUE(expanded.ok()) << expanded.status();
    EXPECT_EQ(*expanded, content);
  }
}

TEST(Chunk, RefusesAPromiseOverTheLimit) {
  const std::string bomb(size_t{64} << 20, '\0');
  const std::string frame = CompressChunk(bomb);
  ASSERT_LT(frame.size(), size_t{10000});
  EXPECT_EQ(ReasonOf(frame, bomb), "CHUNK_TOO_LARGE");
  const std::string one_more(static_cast<size_t>(kChunkBytes) + 1, 'x');
  EXPECT_EQ(ReasonOf(CompressChunk(one_more), one_more), "CHUNK_TOO_LARGE");
}

TEST(Chunk, RefusesAHeaderThatPromisesOtherThanTheFrameHolds) {
  const std::string content(1000, 'x');
  std::string frame = CompressChunk(content);
  // Magic, then a descriptor with a two-byte content size less 256 (RFC 8878 section 3.1.1.1).
  ASSERT_EQ(static_cast<unsigned char>(frame[4]) >> 6, 1);
  frame[6] = 1;  // Promises 256 bytes and some.
  EXPECT_EQ(ReasonOf(frame, content), "CHUNK_MALFORMED");
  frame[6] = 9;  // Promises 2560 bytes and some.
  EXPECT_EQ(ReasonOf(frame, content), "CHUNK_MALFORMED");
}

TEST(Chunk, RefusesAFrameThatDoesNotSayItsSize) {
  const std::string content(1000, 'x');
  EXPECT_EQ(ReasonOf(FrameWithoutSize(content), content), "CHUNK_MALFORMED");
}

TEST(Chunk, RefusesWhatIsNotOneWholeFrame) {
  const std::string content = "hello";
  const std::string frame = CompressChunk(content);
  EXPECT_EQ(ReasonOf("", content), "CHUNK_MALFORMED");
  EXPECT_EQ(ReasonOf("hello", content), "CHUNK_MALFORMED");
  EXPECT_EQ(ReasonOf(frame + "x", content), "CHUNK_MALFORMED");
  EXPECT_EQ(ReasonOf(frame + frame, content + content), "CHUNK_MALFORMED");
  for (size_t size = 0; size < frame.size(); ++size) {
    EXPECT_EQ(ReasonOf(absl::string_view(frame).substr(0, size), content), "CHUNK_MALFORMED") << size;
  }
  // A skippable frame has no content, which would pass for empty.
  const std::string skippable("\x50\x2a\x4d\x18\x01\x00\x00\x00x", 9);
  EXPECT_EQ(ReasonOf(skippable, ""), "CHUNK_MALFORMED");
  EXPECT_EQ(ReasonOf(std::string(kMaxFrameBytes + 1, 'x'), content), "CHUNK_TOO_LARGE");
}

TEST(Chunk, RefusesContentOfAnotherDigest) {
  EXPECT_EQ(ReasonOf(CompressChunk("hello"), "hallo"), "CHUNK_DIGEST");
  EXPECT_EQ(Reason(ExpandChunk(CompressChunk("hello"), "").status()), "CHUNK_DIGEST");
}

}  // namespace
}  // namespace parley::payload
