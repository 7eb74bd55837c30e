// Replicas on one store: who has followed, who is waited for, and who is cut off.
#include "lib/store/replicas.h"

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "gtest/gtest.h"
#include "lib/base/error.h"
#include "lib/store/shared_store_testing.h"
#include "lib/store/sqlite_store.h"

namespace parley::store {
namespace {

constexpr absl::Duration kLong = absl::Seconds(30);
constexpr absl::Duration kShort = absl::Milliseconds(50);

class ReplicasTest : public testing::Test {
 protected:
  ReplicasTest() {
    path_ = testing::TempDir() + "/replicas.XXXXXX";
    EXPECT_NE(mkdtemp(path_.data()), nullptr);
    store_ = *OpenSqliteStore({.path = path_ + "/store.db"});
  }
  ~ReplicasTest() override {
    store_ = nullptr;
    std::filesystem::remove_all(path_);
  }

  Replicas::Options OptionsFor(Store* store) {
    Replicas::Options options;
    options.store = store;
    options.service = "taskd";
    return options;
  }
  int64_t Change() { return *store_->Commit(Transaction().Set("revocation", "")); }
  size_t Entries() { return store_->List(KeyRange::Prefix("replica/"))->entries.size(); }

  std::string path_;
  std::unique_ptr<Store> store_;
};

TEST_F(ReplicasTest, WaitsForEachThatWasThereBefore) {
  const auto one = *Replicas::Join(OptionsFor(store_.get()));
  const auto two = *Replicas::Join(OptionsFor(store_.get()));
  EXPECT_TRUE(one->CheckHeld().ok());
  const int64_t revision = Change();
  one->Followed(revision);
  const absl::Status behind = one->Await(revision, kShort);
  EXPECT_EQ(Reason(behind), "REPLICAS_BEHIND");
  EXPECT_NE(behind.message().find(two->name()), std::string::npos) << behind;
  EXPECT_EQ(behind.message().find(one->name()), std::string::npos) << behind;

  const auto three = *Replicas::Join(OptionsFor(store_.get()));
  two->Followed(revision);
  EXPECT_TRUE(one->Await(revision, kLong).ok()) << "the third one has read what was there before it came";
}

TEST_F(ReplicasTest, WhoLeavesIsNotWaitedFor) {
  const auto one = *Replicas::Join(OptionsFor(store_.get()));
  auto two = *Replicas::Join(OptionsFor(store_.get()));
  const int64_t revision = Change();
  one->Followed(revision);
  std::atomic<bool> waited = false;
  std::thread waiting([&] {
    EXPECT_TRUE(one->Await(revision, kLong).ok());
    waited = true;
  });
  EXPECT_FALSE(waited);
  two = nullptr;
  waiting.join();
  EXPECT_EQ(Entries(), 1);
}

TEST_F(ReplicasTest, WhoIsCutOffKnowsBeforeItIsNoLongerWaitedFor) {
  SharedStore cut(store_.get());
  const auto one = *Replicas::Join(OptionsFor(store_.get()));
  Replicas::Options options = OptionsFor(&cut);
  options.ttl = absl::Seconds(1);
  Mutex mutex;
  CondVar changed;
  int losses = 0, joins = 0, reads = 0;
  options.on_change = [&](bool held) {
    MutexLock lock(&mutex);
    ++(held ? joins : losses);
    changed.NotifyAll();
  };
  options.read_anew = [&] {
    MutexLock lock(&mutex);
    ++reads;
    return absl::OkStatus();
  };
  const auto two = *Replicas::Join(std::move(options));
  EXPECT_TRUE(two->CheckHeld().ok());
  const LeaseId first = two->lease();

  cut.CutOff(true);
  const int64_t revision = Change();
  one->Followed(revision);
  ASSERT_TRUE(one->Await(revision, kLong).ok());
  EXPECT_EQ(Reason(two->CheckHeld()), "REPLICA_CUT_OFF") << "it may not act any more once it is not waited for";
  {
    MutexLock lock(&mutex);
    while (losses == 0) changed.Wait(&mutex);
    EXPECT_EQ(joins, 1);
  }
  EXPECT_EQ(two->lease(), 0);

  cut.CutOff(false);
  MutexLock lock(&mutex);
  while (joins < 2) changed.Wait(&mutex);
  EXPECT_EQ(reads, 2) << "what was missed is read before it acts again";
  EXPECT_TRUE(two->CheckHeld().ok());
  EXPECT_NE(two->lease(), first);
}

TEST_F(ReplicasTest, RenewsForAsLongAsTheStoreAnswers) {
  Replicas::Options options = OptionsFor(store_.get());
  options.ttl = absl::Seconds(3);
  std::atomic<bool> lost = false;
  options.on_change = [&](bool held) { lost = lost || !held; };
  SharedStore counting(store_.get());
  options.store = &counting;
  const auto one = *Replicas::Join(std::move(options));
  counting.AwaitRenewals(2);
  EXPECT_FALSE(lost);
  EXPECT_TRUE(one->CheckHeld().ok());
}

TEST_F(ReplicasTest, KeepsTheEntryOfAnotherProcess) {
  const int64_t made = *Replicas::Keep(store_.get(), "replica/enrolld/1", absl::Seconds(30), 0);
  EXPECT_GT(made, 0);
  const int64_t revision = Change();
  EXPECT_EQ(*Replicas::Keep(store_.get(), "replica/enrolld/1", absl::Seconds(30), made), made);
  EXPECT_EQ(Reason(Replicas::Await(store_.get(), "replica/", revision, kShort)), "REPLICAS_BEHIND");
  EXPECT_EQ(*Replicas::Keep(store_.get(), "replica/enrolld/1", absl::Seconds(30), revision), made);
  EXPECT_TRUE(Replicas::Await(store_.get(), "replica/", revision, kLong).ok());
}

TEST_F(ReplicasTest, AnEntryWhoseLeaseHasEndedIsAnotherOne) {
  const int64_t made = *Replicas::Keep(store_.get(), "replica/enrolld/1", absl::Milliseconds(100), 0);
  ASSERT_TRUE(Replicas::Await(store_.get(), "replica/", Change(), kLong).ok()) << "its lease ends";
  EXPECT_GT(*Replicas::Keep(store_.get(), "replica/enrolld/1", absl::Seconds(30), made), made);
}

TEST_F(ReplicasTest, ADamagedEntryIsAnError) {
  ASSERT_TRUE(store_->Commit(Transaction().Set("replica/taskd/1", "nonsense")).ok());
  EXPECT_EQ(Reason(Replicas::Await(store_.get(), "replica/", Change(), kShort)), "STORE_DAMAGED");
}

}  // namespace
}  // namespace parley::store
