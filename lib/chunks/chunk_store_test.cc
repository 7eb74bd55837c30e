// What every home of chunks must do, in the store and in a folder; and what concerns one of them alone.
#include "lib/chunks/chunk_store.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/chunks/keys.h"
#include "lib/crypto/hash.h"
#include "lib/payload/chunk.h"
#include "lib/store/sqlite_store.h"
#include "lib/store/update.h"

namespace parley::chunks {
namespace {

namespace fs = std::filesystem;

ChunkStore::Chunk Make(absl::string_view content) { return {crypto::Sha256(content), payload::CompressChunk(content)}; }
std::string NameKey(absl::string_view digest) { return absl::StrCat("named/", HexEncode(digest)); }

class ChunksTest : public testing::Test {
 protected:
  ChunksTest() : root_(testing::TempDir() + "/chunks.XXXXXX") {
    EXPECT_NE(mkdtemp(root_.data()), nullptr);
    store_ = *store::OpenSqliteStore({.path = root_ + "/store.db"});
    fs::create_directory(folder());
  }
  ~ChunksTest() override {
    store_ = nullptr;
    fs::remove_all(root_);
  }

  std::string folder() const { return root_ + "/folder"; }
  absl::StatusOr<std::unique_ptr<ChunkStore>> TryOpen(const std::string& folder, int64_t max_stored_bytes = 0) {
    ChunkStore::Options options;
    options.store = store_.get();
    options.clock = &clock_;
    // So that what is read is read.
    options.cache_bytes = 0;
    options.folder = folder;
    options.max_stored_bytes = max_stored_bytes;
    options.more_room = "take --chunks";
    options.folder_setting = "--chunks";
    auto chunks = std::make_unique<ChunkStore>(std::move(options));
    RETURN_IF_ERROR(chunks->Start());
    return chunks;
  }
  std::unique_ptr<ChunkStore> Open(const std::string& folder, int64_t max_stored_bytes = 0) {
    auto chunks = TryOpen(folder, max_stored_bytes);
    EXPECT_TRUE(chunks.ok()) << chunks.status();
    return *std::move(chunks);
  }
  // What a publisher does with chunks that it has uploaded.
  absl::Status Name(ChunkStore* chunks, const std::vector<absl::string_view>& digests) {
    store::Transaction commit;
    RETURN_IF_ERROR(chunks->Hold(&commit));
    ASSIGN_OR_RETURN(const std::vector<std::string> missing, chunks->Missing(digests));
    if (!missing.empty()) return FailedPrecondition("CHUNKS_MISSING", missing.size(), " are missing");
    for (const absl::string_view digest : digests) commit.Set(NameKey(digest), std::string(digest));
    return store_->Commit(std::move(commit)).status();
  }
  absl::Status Unname(ChunkStore* chunks, absl::string_view digest) {
    RETURN_IF_ERROR(chunks->Release({digest}));
    return store_->Commit(store::Transaction().Delete(NameKey(digest))).status();
  }
  absl::StatusOr<std::unordered_set<std::string>> Named() {
    ASSIGN_OR_RETURN(const store::Page page, store_->List(store::KeyRange::Prefix("named/")));
    std::unordered_set<std::string> named;
    for (const store::Entry& entry : page.entries) named.insert(entry.value);
    return named;
  }
  ChunkStore::Swept Sweep(ChunkStore* chunks) {
    const auto swept = chunks->Sweep(clock_.Now(), [this] { return Named(); });
    EXPECT_TRUE(swept.ok()) << swept.status();
    return swept.value_or(ChunkStore::Swept());
  }
  static bool Has(ChunkStore* chunks, const ChunkStore::Chunk& chunk) {
    const auto frame = chunks->Get(chunk.digest);
    return frame.ok() && **frame == chunk.frame;
  }
  // The files in the folder, without the one that says whose it is.
  std::vector<std::string> Files() const {
    std::vector<std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(folder())) {
      if (entry.is_regular_file() && entry.path().filename() != "parley-chunks") files.push_back(entry.path());
    }
    return files;
  }

  std::string root_;
  FakeClock clock_;
  std::unique_ptr<store::Store> store_;
};

class EveryHomeTest : public ChunksTest, public testing::WithParamInterface<bool> {
 protected:
  bool in_folder() const { return GetParam(); }
  std::unique_ptr<ChunkStore> OpenHome() { return Open(in_folder() ? folder() : ""); }
  // Writes something else in the place of the chunk's bytes, or removes them.
  void Damage(const ChunkStore::Chunk& chunk, bool remove) {
    if (!in_folder()) {
      store::Transaction transaction;
      remove ? transaction.Delete(FrameKey(chunk.digest)) : transaction.Set(FrameKey(chunk.digest), "else");
      ASSERT_TRUE(store_->Commit(std::move(transaction)).ok());
      return;
    }
    ASSERT_EQ(Files().size(), 1u);
    if (remove) {
      fs::remove(Files()[0]);
    } else {
      std::ofstream(Files()[0]) << "else";
    }
  }
  size_t CountFrames() {
    return in_folder() ? Files().size() : store_->List(store::KeyRange::Prefix("c/"))->entries.size();
  }

  const ChunkStore::Chunk one_ = Make("one"), two_ = Make("two");
};

INSTANTIATE_TEST_SUITE_P(Homes, EveryHomeTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Folder" : "Store"; });

TEST_P(EveryHomeTest, GivesBackWhatWasPutAlsoToOthersAndLater) {
  auto chunks = OpenHome();
  EXPECT_THAT(*chunks->Missing({one_.digest, two_.digest, one_.digest}),
              testing::ElementsAre(one_.digest, two_.digest));
  ASSERT_TRUE(chunks->Put({one_, one_}).ok());
  EXPECT_TRUE(Has(chunks.get(), one_));
  chunks = nullptr;
  chunks = OpenHome();
  const auto other = OpenHome();
  EXPECT_THAT(*other->Missing({one_.digest, two_.digest}), testing::ElementsAre(two_.digest));
  EXPECT_TRUE(Has(other.get(), one_));
  EXPECT_EQ(Reason(other->Get(two_.digest).status()), "CHUNK_NOT_FOUND");
  // Twice does no harm.
  ASSERT_TRUE(other->Put({one_, two_}).ok());
  EXPECT_TRUE(Has(chunks.get(), one_));
  EXPECT_EQ(CountFrames(), 2u);
}

TEST_P(EveryHomeTest, TakesAsManyAndAsLargeAsThereAre) {
  const auto chunks = OpenHome();
  std::vector<ChunkStore::Chunk> many;
  std::vector<absl::string_view> digests;
  std::mt19937 random(1);
  for (int i = 0; i < 300; ++i) {
    std::string content(i % 40 == 0 ? 256 * 1024 : 100, '\0');
    for (char& byte : content) byte = static_cast<char>(random());
    many.push_back(Make(content));
  }
  for (const auto& chunk : many) digests.push_back(chunk.digest);
  ASSERT_TRUE(chunks->Put(many).ok());
  EXPECT_TRUE(chunks->Claim(digests)->empty());
  for (const auto& chunk : many) EXPECT_TRUE(Has(chunks.get(), chunk));
  clock_.Advance(kUnnamedLifetime);
  EXPECT_EQ(Sweep(chunks.get()).doomed, 300);
  EXPECT_EQ(Sweep(chunks.get()).removed, 300);
  EXPECT_EQ(CountFrames(), 0u);
}

TEST_P(EveryHomeTest, SaysThatOneIsDamagedOrMissing) {
  const auto chunks = OpenHome();
  ASSERT_TRUE(chunks->Put({one_}).ok());
  Damage(one_, /*remove=*/false);
  EXPECT_EQ(Reason(chunks->Get(one_.digest).status()), "CHUNK_DAMAGED");
  EXPECT_EQ(chunks->Get(one_.digest).status().code(), absl::StatusCode::kDataLoss);
  Damage(one_, /*remove=*/true);
  EXPECT_EQ(Reason(chunks->Get(one_.digest).status()), in_folder() ? "CHUNK_MISSING" : "CHUNK_NOT_FOUND");
}

TEST_P(EveryHomeTest, KeepsWhatIsNamedAndForADayWhatIsNot) {
  const auto chunks = OpenHome();
  ASSERT_TRUE(chunks->Put({one_, two_}).ok());
  ASSERT_TRUE(Name(chunks.get(), {one_.digest}).ok());
  clock_.Advance(kUnnamedLifetime - absl::Seconds(1));
  EXPECT_EQ(Sweep(chunks.get()).doomed, 0);
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(Sweep(chunks.get()).doomed, 1);
  // It is there until the next pass, but not for those who would name it.
  EXPECT_TRUE(Has(chunks.get(), two_));
  EXPECT_THAT(*chunks->Missing({one_.digest, two_.digest}), testing::ElementsAre(two_.digest));
  EXPECT_EQ(Sweep(chunks.get()).removed, 1);
  EXPECT_EQ(Reason(chunks->Get(two_.digest).status()), "CHUNK_NOT_FOUND");
  EXPECT_EQ(CountFrames(), 1u);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Sweep(chunks.get()).removed, 0);
  EXPECT_TRUE(Has(chunks.get(), one_));
  // What was named once goes at once.
  ASSERT_TRUE(Unname(chunks.get(), one_.digest).ok());
  Sweep(chunks.get());
  EXPECT_EQ(Sweep(chunks.get()).removed, 1);
  EXPECT_EQ(CountFrames(), 0u);
  EXPECT_EQ(Sweep(chunks.get()).doomed, 0);
}

TEST_P(EveryHomeTest, LetsAClaimStartTheDayAgain) {
  const auto chunks = OpenHome();
  ASSERT_TRUE(chunks->Put({one_, two_}).ok());
  clock_.Advance(absl::Hours(20));
  EXPECT_THAT(*chunks->Claim({one_.digest}), testing::IsEmpty());
  ASSERT_TRUE(chunks->Put({two_}).ok());
  clock_.Advance(absl::Hours(20));
  EXPECT_EQ(Sweep(chunks.get()).doomed, 0);
  // Two puts that others make at the same time are one.
  EXPECT_EQ(CountFrames(), 2u);
}

TEST_P(EveryHomeTest, RefusesANameThatADoomOvertakes) {
  const auto chunks = OpenHome(), sweeper = OpenHome();
  ASSERT_TRUE(chunks->Put({one_}).ok());
  clock_.Advance(kUnnamedLifetime);
  store::Transaction commit;
  ASSERT_TRUE(chunks->Hold(&commit).ok());
  EXPECT_TRUE(chunks->Missing({one_.digest})->empty());
  EXPECT_EQ(Sweep(sweeper.get()).doomed, 1);
  commit.Set(NameKey(one_.digest), one_.digest);
  EXPECT_EQ(Reason(store_->Commit(commit).status()), "CONFLICT");
  EXPECT_EQ(Reason(Name(chunks.get(), {one_.digest})), "CHUNKS_MISSING");
  ASSERT_TRUE(chunks->Put({one_}).ok());
  ASSERT_TRUE(Name(chunks.get(), {one_.digest}).ok());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Sweep(sweeper.get()).removed, 0);
  EXPECT_TRUE(Has(chunks.get(), one_));
}

TEST_P(EveryHomeTest, KeepsWhatIsPutAgainWhileItIsBeingRemoved) {
  const auto chunks = OpenHome(), sweeper = OpenHome();
  ASSERT_TRUE(chunks->Put({one_, two_}).ok());
  clock_.Advance(kUnnamedLifetime);
  EXPECT_EQ(Sweep(sweeper.get()).doomed, 2);
  const auto swept = sweeper->Sweep(clock_.Now(), [&] {
    const auto named = Named();
    EXPECT_TRUE(chunks->Put({one_}).ok());
    EXPECT_TRUE(Name(chunks.get(), {one_.digest}).ok());
    return named;
  });
  ASSERT_TRUE(swept.ok()) << swept.status();
  EXPECT_EQ(swept->removed, 1);
  EXPECT_TRUE(Has(chunks.get(), one_));
  EXPECT_FALSE(Has(chunks.get(), two_));
  Sweep(sweeper.get());
  EXPECT_TRUE(Has(chunks.get(), one_));
  EXPECT_EQ(CountFrames(), 1u);
}

TEST_P(EveryHomeTest, TakesADoomBackFromWhatWasNamedJustBefore) {
  const auto chunks = OpenHome();
  ASSERT_TRUE(chunks->Put({one_}).ok());
  clock_.Advance(kUnnamedLifetime);
  const auto swept = chunks->Sweep(clock_.Now(), [&] {
    const auto named = Named();
    EXPECT_TRUE(Name(chunks.get(), {one_.digest}).ok());
    return named;
  });
  ASSERT_TRUE(swept.ok()) << swept.status();
  EXPECT_EQ(swept->doomed, 1);
  EXPECT_TRUE(Has(chunks.get(), one_));
  EXPECT_EQ(Sweep(chunks.get()).removed, 0);
  EXPECT_TRUE(chunks->Missing({one_.digest})->empty());
  EXPECT_TRUE(Has(chunks.get(), one_));
}

TEST_P(EveryHomeTest, RemovesNothingIfItIsNotKnownWhatIsNamed) {
  const auto chunks = OpenHome();
  ASSERT_TRUE(chunks->Put({one_}).ok());
  clock_.Advance(kUnnamedLifetime);
  for (int i = 0; i < 2; ++i) {
    const auto swept = chunks->Sweep(
        clock_.Now(), []() -> absl::StatusOr<std::unordered_set<std::string>> { return DataLoss("LOST", "lost"); });
    EXPECT_EQ(Reason(swept.status()), "LOST");
  }
  EXPECT_TRUE(chunks->Missing({one_.digest})->empty());
}

// Two replicas publish and withdraw while both sweep, as fast as they can and with the clock running away: whatever is
// named can be read, at every moment.
TEST_P(EveryHomeTest, NeverLosesWhatIsNamedWhileTwoReplicasPublishAndSweep) {
  constexpr int kContents = 6, kRounds = 60;
  std::atomic<int> publishing = 4;
  std::vector<std::thread> threads;
  std::atomic<int64_t> removed = 0, conflicts = 0;
  for (int publisher = 0; publisher < 4; ++publisher) {
    threads.emplace_back([&, publisher] {
      const auto chunks = OpenHome();
      std::mt19937 random(publisher);
      for (int round = 0; round < kRounds; ++round) {
        // Contents of its own, so that it knows what is named; and one that all put.
        const ChunkStore::Chunk chunk = Make(absl::StrCat("content ", publisher, " ", random() % kContents));
        const ChunkStore::Chunk shared = Make("shared");
        while (true) {
          EXPECT_TRUE(chunks->Put({chunk, shared}).ok());
          const absl::Status named = Name(chunks.get(), {chunk.digest});
          if (named.ok()) break;
          EXPECT_TRUE(absl::IsAborted(named) || Reason(named) == "CHUNKS_MISSING") << named;
          ++conflicts;
        }
        for (int i = 0; i < 3; ++i) EXPECT_TRUE(Has(chunks.get(), chunk)) << chunks->Get(chunk.digest).status();
        EXPECT_TRUE(Unname(chunks.get(), chunk.digest).ok());
      }
      --publishing;
    });
  }
  for (int sweeper = 0; sweeper < 2; ++sweeper) {
    threads.emplace_back([&] {
      const auto chunks = OpenHome();
      while (publishing > 0) {
        clock_.Advance(absl::Hours(7));
        removed += Sweep(chunks.get()).removed;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(removed, 0);
  RecordProperty("conflicts", static_cast<int>(conflicts));
  const auto chunks = OpenHome();
  clock_.Advance(kUnnamedLifetime);
  for (int i = 0; i < 2; ++i) Sweep(chunks.get());
  EXPECT_EQ(CountFrames(), 0u);
}

using StoredChunksTest = ChunksTest;

TEST_F(StoredChunksTest, HaveALimitThatNamesTheWayOut) {
  const auto chunks = Open("", 1 << 20);
  const auto other = Open("", 1 << 20);
  std::vector<ChunkStore::Chunk> many;
  std::mt19937 random(2);
  for (int i = 0; i < 5; ++i) {
    std::string content(240 * 1024, '\0');
    for (char& byte : content) byte = static_cast<char>(random());
    many.push_back(Make(content));
  }
  for (int i = 0; i < 4; ++i) ASSERT_TRUE((i % 2 == 0 ? chunks : other)->Put({many[i]}).ok());
  const absl::Status full = chunks->Put({many[4]});
  EXPECT_EQ(Reason(full), "CHUNKS_FULL");
  EXPECT_EQ(full.message(),
            "the payloads of all tasks may take 1 MiB in the store, and this one goes beyond that; take --chunks");
  // What is there takes no further room.
  EXPECT_TRUE(chunks->Put({many[0], many[3]}).ok());
  EXPECT_TRUE(other->Put({Make("small")}).ok());
  EXPECT_EQ(chunks->Missing({many[4].digest})->size(), 1u);
  // What is doomed has been counted already, and is free when it is gone.
  clock_.Advance(kUnnamedLifetime);
  Sweep(chunks.get());
  ASSERT_TRUE(other->Put({many[0]}).ok());
  EXPECT_EQ(Reason(other->Put({many[4]})), "CHUNKS_FULL");
  EXPECT_EQ(Sweep(chunks.get()).removed, 4);
  for (int i = 1; i < 4; ++i) EXPECT_TRUE(other->Put({many[i]}).ok());
  EXPECT_EQ(Reason(other->Put({many[4]})), "CHUNKS_FULL");
}

TEST_F(StoredChunksTest, AreCountedWhenALimitComesLater) {
  std::string content(200 * 1024, '\0');
  std::mt19937 random(3);
  for (char& byte : content) byte = static_cast<char>(random());
  ASSERT_TRUE(Open("", 300 * 1024)->Put({Make("counted")}).ok());
  ASSERT_TRUE(Open("")->Put({Make(content)}).ok());
  content[0] ^= 1;
  EXPECT_EQ(Reason(Open("", 300 * 1024)->Put({Make(content)})), "CHUNKS_FULL");
}

using ChunkFolderTest = ChunksTest;

TEST_F(ChunkFolderTest, TakesWhatComesAndLeavesWhatTheStoreHas) {
  const ChunkStore::Chunk old = Make("old"), recent = Make("recent");
  ASSERT_TRUE(Open("")->Put({old}).ok());
  const auto chunks = Open(folder());
  ASSERT_TRUE(chunks->Put({old, recent}).ok());
  EXPECT_EQ(Files().size(), 1u);
  EXPECT_TRUE(Has(chunks.get(), old));
  EXPECT_TRUE(Has(chunks.get(), recent));
  clock_.Advance(kUnnamedLifetime);
  for (int i = 0; i < 2; ++i) Sweep(chunks.get());
  EXPECT_TRUE(Files().empty());
  EXPECT_TRUE(store_->List(store::KeyRange::Prefix("c/"))->entries.empty());
}

TEST_F(ChunkFolderTest, IsTakenForNoOther) {
  const std::string missing = root_ + "/missing", other = root_ + "/other";
  EXPECT_EQ(Reason(TryOpen(missing).status()), "CHUNK_FOLDER_MISSING");
  ASSERT_TRUE(Open(folder())->Put({Make("one")}).ok());
  const absl::Status without = TryOpen("").status();
  EXPECT_EQ(Reason(without), "CHUNK_FOLDER_NEEDED");
  EXPECT_THAT(std::string(without.message()), testing::HasSubstr(folder() + " when it was last used; name it with --"));
  // One that is not mounted is empty.
  fs::create_directory(other);
  EXPECT_EQ(Reason(TryOpen(other).status()), "CHUNK_FOLDER_OTHER");
  EXPECT_TRUE(fs::is_empty(other));
  // It may be mounted elsewhere.
  fs::remove(other);
  fs::rename(folder(), other);
  EXPECT_TRUE(Has(Open(other).get(), Make("one")));
  EXPECT_EQ(*FindChunkFolder(store_.get()), other);
  // It is not for another store.
  store_ = *store::OpenSqliteStore({.path = root_ + "/second.db"});
  EXPECT_EQ(Reason(TryOpen(other).status()), "CHUNK_FOLDER_OTHER");
  EXPECT_EQ(*FindChunkFolder(store_.get()), "");
}

TEST_F(ChunkFolderTest, IsAdoptedWhereverTheFirstTryWasKilled) {
  // The store had its id, and the folder did not yet.
  ChunkFolderRecord record;
  record.set_id("00112233445566778899aabbccddeeff");
  record.set_path(folder());
  ASSERT_TRUE(store_->Commit(store::Transaction().Set(std::string(kFolderKey), record.SerializeAsString())).ok());
  ASSERT_TRUE(Open(folder())->Put({Make("one")}).ok());
  EXPECT_EQ(*ReadFile(folder() + "/parley-chunks", 100), record.id() + "\n");
  // The folder had it, and the store did not know.
  ASSERT_TRUE(store_->Commit(store::Transaction().Set(std::string(kFolderKey), record.SerializeAsString())).ok());
  EXPECT_TRUE(Has(Open(folder()).get(), Make("one")));
}

TEST_F(ChunkFolderTest, LosesFilesThatNobodyWillNameAndNoOthers) {
  const auto chunks = Open(folder());
  const ChunkStore::Chunk one = Make("one"), two = Make("two"), three = Make("three");
  ASSERT_TRUE(chunks->Put({one}).ok());
  const std::string kept = Files()[0];
  const auto raw = ChunkFolder::Open(store_.get(), folder());
  ASSERT_TRUE(raw.ok()) << raw.status();
  // Its writer was killed: after the file, and in the middle of it.
  ASSERT_TRUE((*raw)->Write(two.digest, "0011223344556677", two.frame).ok());
  std::ofstream(kept + ".aBcDeF") << "half";
  // Its writer is at it.
  const ChunkFolder::Writing writing = *(*raw)->BeginWriting();
  const std::string file = writing.file;
  store::Transaction commit;
  ChunkFolder::Require(writing, &commit);
  ASSERT_TRUE((*raw)->Write(three.digest, file, three.frame).ok());
  // Somebody else's.
  std::ofstream(folder() + "/README") << "text";
  std::ofstream(fs::path(kept).parent_path() / "note") << "text";
  EXPECT_EQ(Files().size(), 6u);
  EXPECT_EQ(Sweep(chunks.get()).files, 2);
  EXPECT_EQ(Files().size(), 4u);
  EXPECT_TRUE(Has(chunks.get(), one));
  ChunkInfo info;
  info.set_file(file);
  info.set_frame_size(static_cast<int32_t>(three.frame.size()));
  commit.Set(InfoKey(three.digest), info.SerializeAsString());
  ASSERT_TRUE(store_->Commit(std::move(commit)).ok());
  EXPECT_EQ(Sweep(chunks.get()).files, 0);
  EXPECT_TRUE(Has(chunks.get(), three));
}

TEST_F(ChunkFolderTest, CountsNoWritingThatTookTooLong) {
  const auto chunks = Open(folder());
  const auto raw = ChunkFolder::Open(store_.get(), folder());
  const ChunkFolder::Writing writing = *(*raw)->BeginWriting();
  const std::string file = writing.file;
  store::Transaction commit;
  ChunkFolder::Require(writing, &commit);
  ASSERT_TRUE((*raw)->Write(Make("one").digest, file, Make("one").frame).ok());
  // Its lease has run out.
  (*raw)->EndWriting(writing);
  EXPECT_EQ(Sweep(chunks.get()).files, 1);
  EXPECT_EQ(Reason(store_->Commit(std::move(commit)).status()), "CONFLICT");
}

TEST_F(ChunkFolderTest, TakesAChunkAgainWhoseFileIsLost) {
  const auto chunks = Open(folder());
  const ChunkStore::Chunk one = Make("one");
  ASSERT_TRUE(chunks->Put({one}).ok());
  ASSERT_TRUE(Name(chunks.get(), {one.digest}).ok());
  fs::remove(Files()[0]);
  EXPECT_EQ(Reason(Name(chunks.get(), {one.digest})), "CHUNKS_MISSING");
  ASSERT_TRUE(chunks->Put({one}).ok());
  EXPECT_TRUE(Has(chunks.get(), one));
  Sweep(chunks.get());
  EXPECT_TRUE(Has(chunks.get(), one));
}

}  // namespace
}  // namespace parley::chunks
