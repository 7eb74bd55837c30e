// A server that sends something else than what was signed.
#include "clients/operator/revision_content.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "lib/base/error.h"
#include "lib/crypto/hash.h"
#include "lib/payload/chunk.h"
#include "lib/payload/fileset.h"

namespace parley::ops {
namespace {

using task::v1::FetchChunksResponse;
using task::v1::FileEntry;

class FakeStream final : public ContentReceiver::Stream {
 public:
  explicit FakeStream(std::vector<FetchChunksResponse> pieces) : pieces_(std::move(pieces)) {}
  grpc::Status Finish() override { return grpc::Status(); }
  bool NextMessageSize(uint32_t* size) override { return false; }
  void WaitForInitialMetadata() override {}
  bool Read(FetchChunksResponse* piece) override {
    if (next_ == pieces_.size()) return false;
    *piece = pieces_[next_++];
    return true;
  }

 private:
  const std::vector<FetchChunksResponse> pieces_;
  size_t next_ = 0;
};

FetchChunksResponse Piece(const std::string& digest, const std::string& frame, size_t offset = 0,
                          size_t size = std::string::npos) {
  FetchChunksResponse piece;
  piece.set_digest(digest);
  piece.set_offset(static_cast<int64_t>(offset));
  piece.set_data(frame.substr(offset, size));
  piece.set_frame_size(static_cast<int64_t>(frame.size()));
  return piece;
}

FileEntry Entry(const std::string& content) {
  FileEntry file;
  file.set_path("motd");
  file.set_type(FileEntry::TYPE_REGULAR);
  file.set_size(static_cast<int64_t>(content.size()));
  file.set_sha256(crypto::Sha256(content));
  for (size_t begin = 0; begin < content.size(); begin += payload::kChunkBytes) {
    file.add_chunks(crypto::Sha256(content.substr(begin, payload::kChunkBytes)));
  }
  return file;
}

class RevisionContent : public ::testing::Test {
 protected:
  RevisionContent() {
    manifest_.set_task("tasks/site");
    manifest_.set_revision(2);
  }
  // The reason of the refusal; what was passed on is in `content_`.
  std::string Receive(const FileEntry& file, std::vector<FetchChunksResponse> pieces) {
    FakeStream stream(std::move(pieces));
    ContentReceiver receiver(&stream, &manifest_);
    content_.clear();
    complete_ = false;
    absl::Status status = receiver.Receive(file, [&](const FileEntry&, absl::string_view content, bool last) {
      content_.append(content.data(), content.size());
      complete_ = last;
      return absl::OkStatus();
    });
    if (status.ok()) status = receiver.ReceiveEnd();
    ended_ = receiver.ended();
    return Reason(status);
  }

  task::v1::Manifest manifest_;
  std::string content_;
  bool complete_ = false, ended_ = false;
};

TEST_F(RevisionContent, IsPassedOnWhenItIsWhatWasSigned) {
  const std::string frame = payload::CompressChunk("hello\n");
  const FileEntry file = Entry("hello\n");
  EXPECT_EQ(Receive(file, {Piece(file.chunks(0), frame, 0, 5), Piece(file.chunks(0), frame, 5)}), "");
  EXPECT_EQ(content_, "hello\n");
  EXPECT_TRUE(complete_ && ended_);
  EXPECT_EQ(Receive(Entry(""), {}), "");
  EXPECT_TRUE(complete_);

  const std::string large(payload::kChunkBytes + 3, 'x');
  const FileEntry two = Entry(large);
  ASSERT_EQ(two.chunks_size(), 2);
  EXPECT_EQ(Receive(two, {Piece(two.chunks(0), payload::CompressChunk(large.substr(0, payload::kChunkBytes))),
                          Piece(two.chunks(1), payload::CompressChunk("xxx"))}),
            "");
  EXPECT_EQ(content_, large);
}

TEST_F(RevisionContent, IsRefusedWhenTheServerSendsSomethingElse) {
  const std::string frame = payload::CompressChunk("hello\n"), other = payload::CompressChunk("HELLO\n");
  const FileEntry file = Entry("hello\n");
  const std::string digest = file.chunks(0);
  const std::vector<std::vector<FetchChunksResponse>> lies = {
      {Piece(digest, other)},
      {Piece(crypto::Sha256("HELLO\n"), other)},
      {Piece(digest, "no zstd")},
      {Piece(digest, std::string(payload::kMaxFrameBytes + 1, 'x'))},
      {Piece(digest, frame, 5)},
      {Piece(digest, frame, 0, 5), Piece(digest, frame, 4)},
      {Piece(digest, frame, 0, 0)},
      {Piece(digest, frame, 0, 5)},
      {},
  };
  for (const auto& lie : lies) {
    EXPECT_EQ(Receive(file, lie), "CONTENT_DIFFERS");
    EXPECT_EQ(content_, "");
    EXPECT_FALSE(complete_);
  }
  EXPECT_EQ(Receive(file, {Piece(digest, frame), Piece(digest, frame)}), "CONTENT_DIFFERS");
  EXPECT_FALSE(ended_);
}

// The key's holder has signed it so; whoever reads is not to rely on that.
TEST_F(RevisionContent, IsRefusedWhenTheChunksAreNotTheFile) {
  FileEntry file = Entry("hello\n");
  file.set_sha256(crypto::Sha256("HELLO\n"));
  const std::string frame = payload::CompressChunk("hello\n");
  EXPECT_EQ(Receive(file, {Piece(file.chunks(0), frame)}), "CONTENT_DIFFERS");
  file = Entry("hello\n");
  file.set_size(5);
  EXPECT_EQ(Receive(file, {Piece(file.chunks(0), frame)}), "CONTENT_DIFFERS");
  file = Entry("");
  file.set_sha256(std::string(32, 'x'));
  EXPECT_EQ(Receive(file, {}), "CONTENT_DIFFERS");
  EXPECT_FALSE(complete_);
}

}  // namespace
}  // namespace parley::ops
