// Chunks up and down.
#include "lib/base/error.h"
#include "lib/crypto/hash.h"
#include "lib/crypto/kdf.h"
#include "lib/payload/chunk.h"
#include "services/taskd/testing/taskd_testing.h"

namespace parley::taskd {
namespace {

class ArtifactTest : public TaskdTest {
 protected:
  absl::StatusOr<int> Upload(const std::vector<task::v1::UploadChunksRequest>& chunks) {
    grpc::ClientContext context;
    TaskdTestClient::SetDeadline(&context);
    task::v1::UploadChunksResponse response;
    const auto writer = op().artifacts().UploadChunks(&context, &response);
    for (const auto& chunk : chunks) {
      if (!writer->Write(chunk)) break;
    }
    writer->WritesDone();
    const absl::Status status = op().Explain(writer->Finish());
    if (!status.ok()) return status;
    return response.chunks();
  }
  static task::v1::UploadChunksRequest Chunk(absl::string_view content) {
    task::v1::UploadChunksRequest chunk;
    chunk.set_digest(crypto::Sha256(content));
    chunk.set_zstd(payload::CompressChunk(content));
    return chunk;
  }
  std::vector<std::string> Missing(const std::vector<std::string>& digests) {
    task::v1::FindMissingChunksRequest request;
    for (const std::string& digest : digests) request.add_digests(digest);
    const auto response = op().Call(&op().artifacts(), &ArtifactService::Stub::FindMissingChunks, request);
    EXPECT_TRUE(response.ok()) << response.status();
    return {response->missing().begin(), response->missing().end()};
  }
  // The bytes that came, in order, and the error.
  static absl::Status Fetch(TaskdTestClient* client, const task::v1::FetchChunksRequest& request, std::string* bytes) {
    grpc::ClientContext context;
    TaskdTestClient::SetDeadline(&context);
    const auto reader = client->artifacts().FetchChunks(&context, request);
    task::v1::FetchChunksResponse piece;
    while (reader->Read(&piece)) {
      EXPECT_LE(piece.data().size(), 64u * 1024);
      *bytes += piece.data();
    }
    return client->Explain(reader->Finish());
  }
};

TEST_F(ArtifactTest, AreKeptOnceAndFoundAfterARestart) {
  EXPECT_EQ(*Upload({Chunk("one"), Chunk("two"), Chunk("one")}), 3);
  Restart();
  const std::string three = crypto::Sha256("three");
  EXPECT_EQ(Missing({crypto::Sha256("one"), three, crypto::Sha256("two"), three}), std::vector<std::string>{three});
}

TEST_F(ArtifactTest, AreRefusedUnlessTheyAreWhatTheySay) {
  task::v1::UploadChunksRequest chunk = Chunk("one");
  chunk.set_digest(crypto::Sha256("two"));
  EXPECT_EQ(Reason(Upload({chunk}).status()), "CHUNK_DIGEST");
  chunk = Chunk("one");
  chunk.set_zstd("not zstd");
  EXPECT_EQ(Reason(Upload({chunk}).status()), "CHUNK_MALFORMED");
  chunk = Chunk("one");
  chunk.mutable_zstd()->pop_back();
  EXPECT_EQ(Reason(Upload({chunk}).status()), "CHUNK_MALFORMED");
  const std::string zeros(300'000, '\0');
  EXPECT_EQ(Reason(Upload({Chunk(zeros)}).status()), "CHUNK_TOO_LARGE");
  EXPECT_EQ(Missing({crypto::Sha256("one"), crypto::Sha256("two"), crypto::Sha256(zeros)}).size(), 3u);
  task::v1::FindMissingChunksRequest request;
  request.add_digests("short");
  EXPECT_EQ(Reason(op().Call(&op().artifacts(), &ArtifactService::Stub::FindMissingChunks, request).status()),
            "DIGEST_MALFORMED");
}

TEST_F(ArtifactTest, AreFetchedFromTheByteAskedForAndOnlyOfTheOffer) {
  const auto task = Create(NewTask("site"));
  const JoinedClient member = Join(*task, "web-1");
  const auto client = Connect(member.key);
  TestNegotiation negotiation(client.get(), member.task);
  const NegotiateResponse offered = negotiation.Declare();
  task::v1::Manifest manifest;
  ASSERT_TRUE(manifest.ParseFromString(offered.offer().manifest().manifest()));
  ASSERT_EQ(manifest.files(0).chunks_size(), 2);
  task::v1::FetchChunksRequest request;
  request.set_task(member.task);
  request.set_revision(1);
  for (const std::string& digest : manifest.files(0).chunks()) request.add_chunks()->set_digest(digest);
  std::string bytes;
  EXPECT_EQ(Reason(Fetch(client.get(), request, &bytes)), "NOTHING_ACCEPTED");
  EXPECT_EQ(bytes, "");
  negotiation.Accept();

  ASSERT_TRUE(Fetch(client.get(), request, &bytes).ok());
  const std::string first = payload::CompressChunk(Content().substr(0, 256 * 1024));
  const std::string second = payload::CompressChunk(Content().substr(256 * 1024));
  EXPECT_EQ(bytes, first + second);

  // An interrupted transfer goes on at the byte, over a restart too.
  std::string rest;
  request.mutable_chunks(0)->set_offset(200'001);
  Restart();
  const auto again = Connect(member.key);
  ASSERT_TRUE(Fetch(again.get(), request, &rest).ok());
  EXPECT_EQ(rest, first.substr(200'001) + second);

  request.mutable_chunks(0)->set_offset(static_cast<int64_t>(first.size()));
  EXPECT_EQ(Fetch(again.get(), request, &rest).code(), absl::StatusCode::kOutOfRange);
  request.mutable_chunks(0)->set_offset(-1);
  EXPECT_EQ(Fetch(again.get(), request, &rest).code(), absl::StatusCode::kOutOfRange);

  // A chunk that is there, but of no revision of this task's.
  ASSERT_TRUE(Upload({Chunk("secret of another task")}).ok());
  request.clear_chunks();
  request.add_chunks()->set_digest(crypto::Sha256("secret of another task"));
  EXPECT_EQ(Reason(Fetch(again.get(), request, &rest)), "CHUNK_NOT_OF_REVISION");
  request.set_revision(2);
  EXPECT_EQ(Reason(Fetch(again.get(), request, &rest)), "REVISION_NOT_OFFERED");
}

}  // namespace
}  // namespace parley::taskd
