// What taskd stores in several commits, and how many it takes for what comes together.
#include <stdlib.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/base/mutex.h"
#include "lib/crypto/hash.h"
#include "lib/crypto/kdf.h"
#include "lib/rpc/worker_pool.h"
#include "lib/store/replicas.h"
#include "lib/store/sqlite_store.h"
#include "services/taskd/domain/names.h"
#include "services/taskd/store/client_presence.h"
#include "services/taskd/store/keys.h"
#include "services/taskd/store/participant_updater.h"
#include "services/taskd/store/task_index.h"
#include "services/taskd/store/task_store.h"

namespace parley::taskd {
namespace {

constexpr size_t kMostOperations = 128;
constexpr size_t kMostBytes = 1'500'000;

// Notes how large commits are. Threads: all methods may be called from any thread.
class MeasuredStore final : public store::Store {
 public:
  explicit MeasuredStore(store::Store* store) : store_(store) {}

  absl::StatusOr<store::Entry> Get(absl::string_view key, int64_t revision) override {
    {
      MutexLock lock(&mutex_);
      ++reads_;
    }
    return store_->Get(key, revision);
  }
  absl::StatusOr<store::Page> List(const store::KeyRange& range, size_t limit, int64_t revision) override {
    return store_->List(range, limit, revision);
  }
  absl::StatusOr<int64_t> Revision() override { return store_->Revision(); }
  absl::StatusOr<int64_t> Commit(store::Transaction transaction) override {
    size_t bytes = 0;
    for (const auto& condition : transaction.conditions) bytes += condition.key.size();
    for (const auto& put : transaction.puts) bytes += put.key.size() + put.value.size();
    for (const auto& key : transaction.deletes) bytes += key.size();
    EXPECT_LE(bytes, kMostBytes);
    EXPECT_LE(transaction.puts.size() + transaction.deletes.size(), kMostOperations);
    EXPECT_LE(transaction.conditions.size(), kMostOperations);
    {
      MutexLock lock(&mutex_);
      ++commits_;
    }
    return store_->Commit(std::move(transaction));
  }
  absl::StatusOr<std::unique_ptr<store::Watch>> WatchRange(const store::KeyRange& range, int64_t revision,
                                                           WatchCallback callback) override {
    return store_->WatchRange(range, revision, std::move(callback));
  }
  absl::StatusOr<store::LeaseId> GrantLease(absl::Duration ttl) override { return store_->GrantLease(ttl); }
  absl::Status KeepLeaseAlive(store::LeaseId lease) override { return store_->KeepLeaseAlive(lease); }
  absl::StatusOr<absl::Duration> LeaseTime(store::LeaseId lease) override { return store_->LeaseTime(lease); }
  absl::Status RevokeLease(store::LeaseId lease) override { return store_->RevokeLease(lease); }
  absl::Status Compact(int64_t revision) override { return store_->Compact(revision); }

  int commits() const {
    MutexLock lock(&mutex_);
    return commits_;
  }
  int reads() const {
    MutexLock lock(&mutex_);
    return reads_;
  }

 private:
  store::Store* const store_;
  mutable Mutex mutex_;
  int commits_ ABSL_GUARDED_BY(mutex_) = 0;
  int reads_ ABSL_GUARDED_BY(mutex_) = 0;
};

class StoreTest : public testing::Test {
 protected:
  StoreTest() : folder_(testing::TempDir() + "/store.XXXXXX") {
    EXPECT_NE(mkdtemp(folder_.data()), nullptr);
    sqlite_ = *store::OpenSqliteStore({.path = folder_ + "/store.db"});
    store_.emplace(sqlite_.get());
  }
  ~StoreTest() override {
    sqlite_ = nullptr;
    std::filesystem::remove_all(folder_);
  }

  std::string folder_;
  std::unique_ptr<store::Store> sqlite_;
  std::optional<MeasuredStore> store_;
};

class ManifestTest : public StoreTest {
 protected:
  static task::v1::SignedManifest Manifest(char letter, size_t bytes) {
    task::v1::Manifest manifest;
    manifest.set_task(std::string(bytes, letter));
    task::v1::SignedManifest result;
    result.set_manifest(manifest.SerializeAsString());
    return result;
  }
  // What publishes it.
  absl::StatusOr<store::Transaction> Prepare(const task::v1::SignedManifest& manifest, bool again = false) {
    store::Transaction transaction;
    RETURN_IF_ERROR(tasks_.PutManifest("fleet", 1, manifest, {TaskKey("fleet"), 0}, again, &transaction));
    transaction.IfAbsent(TaskKey("fleet")).Set(TaskKey("fleet"), "");
    return transaction;
  }
  std::string Stored() {
    const auto revision = tasks_.GetRevision("fleet", 1);
    return revision.ok() ? (*revision)->signed_manifest.manifest() : std::string(revision.status().message());
  }

  const TaskStore tasks_{&*store_};
};

TEST_F(ManifestTest, OfAnySizeIsStoredInCommitsThatEveryEngineTakes) {
  const auto manifest = Manifest('a', 3'000'000);
  auto commit = Prepare(manifest);
  ASSERT_TRUE(commit.ok()) << commit.status();
  ASSERT_TRUE(store_->Commit(*std::move(commit)).ok());
  EXPECT_EQ(Stored(), manifest.manifest());
  EXPECT_EQ(Reason(Prepare(Manifest('a', 5'000'000)).status()), "MANIFEST_TOO_LARGE");
}

TEST_F(ManifestTest, ASmallOneTakesOneCommit) {
  const auto manifest = Manifest('a', 1000);
  ASSERT_TRUE(store_->Commit(*Prepare(manifest)).ok());
  EXPECT_EQ(store_->commits(), 1);
  EXPECT_EQ(Stored(), manifest.manifest());
}

TEST_F(ManifestTest, NothingOfOneThatWasGivenUpIsLeftInAnother) {
  for (const size_t bytes : {size_t{1000}, size_t{1'500'000}}) {
    ASSERT_TRUE(Prepare(Manifest('a', 3'500'000)).ok());
    const auto manifest = Manifest('b', bytes);
    auto commit = Prepare(manifest);
    if (const auto first = store_->Commit(*std::move(commit)); !first.ok()) {
      EXPECT_TRUE(absl::IsAborted(first.status()));
      ASSERT_TRUE(store_->Commit(*Prepare(manifest, /*again=*/true)).ok());
    }
    EXPECT_EQ(Stored(), manifest.manifest());
    ASSERT_TRUE(store_->Commit(store::Transaction().Delete(TaskKey("fleet"))).ok());
  }
}

TEST_F(ManifestTest, TwoThatArePublishedAtATimeAreNeverMixed) {
  const auto first = Manifest('a', 2'500'000), second = Manifest('b', 1'500'000);
  auto commit_first = Prepare(first);
  auto commit_second = Prepare(second);
  EXPECT_TRUE(absl::IsAborted(store_->Commit(*std::move(commit_first)).status()));
  ASSERT_TRUE(store_->Commit(*std::move(commit_second)).ok());
  EXPECT_EQ(Stored(), second.manifest());
  // The other one's parts come too late.
  auto late = Prepare(first, /*again=*/true);
  EXPECT_TRUE(absl::IsAborted(store_->Commit(*std::move(late)).status()));
  EXPECT_EQ(Stored(), second.manifest());
}

class PresenceTest : public StoreTest {
 protected:
  class Replica {
   public:
    Replica(MeasuredStore* store, Clock* clock) : store_(store), timers_(clock) {
      store::Replicas::Options options;
      options.store = store;
      options.service = "taskd";
      replicas_ = *store::Replicas::Join(std::move(options));
      presence_ = std::make_unique<ClientPresence>(&store_, replicas_.get(), clock, &timers_, workers_.get());
      ClientPresence::Observer observer;
      observer.changed = [this](const std::string&, const std::string&) { Moved(); };
      observer.replaced = [this](const std::string&, const std::string& client) {
        presence_->SessionEnded("fleet", client);
        Moved();
      };
      observer.is_open = [this](const std::string&) {
        MutexLock lock(&mutex_);
        return open_;
      };
      EXPECT_TRUE(presence_->Start(std::move(observer)).ok());
    }
    ~Replica() {
      presence_->Stop();
      workers_ = nullptr;
      timers_.Stop();
    }
    ClientPresence* operator->() { return presence_.get(); }
    void Await(const std::function<bool()>& reached) {
      MutexLock lock(&mutex_);
      while (!reached()) moved_.Wait(&mutex_);
    }
    void SettleAll() {
      MutexLock lock(&mutex_);
      open_ = false;
    }

   private:
    void Moved() {
      MutexLock lock(&mutex_);
      moved_.NotifyAll();
    }

    const TaskStore store_;
    TimerQueue timers_;
    std::unique_ptr<rpc::WorkerPool> workers_ = std::make_unique<rpc::WorkerPool>(2);
    std::unique_ptr<store::Replicas> replicas_;
    std::unique_ptr<ClientPresence> presence_;
    Mutex mutex_;
    CondVar moved_;
    bool open_ ABSL_GUARDED_BY(mutex_) = true;
  };
  size_t Entries() { return store_->List(AllPresenceRange(), 0, 0)->entries.size(); }

  FakeClock clock_;
};

TEST_F(PresenceTest, SessionsThatBeginTogetherAreStoredTogether) {
  Replica one(&*store_, &clock_), two(&*store_, &clock_);
  constexpr int kClients = 400;
  const int before = store_->commits();
  for (int i = 0; i < kClients; ++i) one->SessionBegan("fleet", absl::StrCat("web-", i));
  for (int i = 0; i < kClients; ++i) {
    two.Await([&] { return two->Find("fleet", absl::StrCat("web-", i)).elsewhere; });
  }
  EXPECT_LT(store_->commits() - before, kClients / 2);
  EXPECT_EQ(Entries(), kClients);
}

TEST_F(PresenceTest, AReplicaThatTakesOverManyLeavesNoneWithTheOther) {
  Replica one(&*store_, &clock_), two(&*store_, &clock_);
  constexpr int kClients = 200;
  for (int i = 0; i < kClients; ++i) one->SessionBegan("fleet", absl::StrCat("web-", i));
  for (int i = 0; i < kClients; ++i) two->SessionBegan("fleet", absl::StrCat("web-", i));
  for (int i = 0; i < kClients; ++i) {
    const std::string name = absl::StrCat("web-", i);
    // Whichever was stored last has it, and the other one lets go.
    while (one->Find("fleet", name).here == two->Find("fleet", name).here) {
    }
  }
  EXPECT_EQ(Entries(), kClients);
}

TEST_F(PresenceTest, WhatIsKnownOfASettledTaskGoes) {
  Replica one(&*store_, &clock_), two(&*store_, &clock_);
  one->OnLead(true);
  one->SessionBegan("fleet", "web-1");
  two->SessionBegan("fleet", "web-2");
  one.Await([&] { return one->Find("fleet", "web-2").elsewhere; });
  two.Await([&] { return two->Find("fleet", "web-1").elsewhere; });
  one->SessionEnded("fleet", "web-1");
  two.Await([&] { return !two->Find("fleet", "web-1").elsewhere; });
  EXPECT_EQ(two->Find("fleet", "web-1").disconnected, clock_.Now());
  one.SettleAll();
  two.SettleAll();
  one->Forget("fleet");
  two->SessionEnded("fleet", "web-2");
  one.Await([&] { return Entries() == 0; });
}

// What is in memory of a client, and what another process does to it meanwhile.
class RecentTest : public StoreTest {
 protected:
  // One of the processes, whose view follows the store until it is stopped.
  struct Process {
    Process(MeasuredStore* store, Clock* clock)
        : tasks(store), timers(clock), index(&tasks, nullptr, nullptr, clock, &timers) {
      TaskIndex::Observer observer;
      observer.task_changed = [](const TaskSnapshot&, bool) {};
      observer.task_due = [](const std::string&) {};
      observer.participant_changed = [](const std::string&, const std::string&, int64_t) {};
      observer.participant_due = [](const std::string&, const std::string&, TaskIndex::Due, int64_t) {};
      EXPECT_TRUE(index.Start(std::move(observer)).ok());
    }
    ~Process() {
      index.Stop();
      timers.Stop();
    }
    ParticipantSnapshot LoadRecent() {
      return *updater.LoadRecent("fleet", "web-1", [](const ParticipantSnapshot&) { return absl::OkStatus(); });
    }
    // Writes into the record that this one was here. Returns what it was decided on.
    std::vector<std::string> Sign(const std::string& name, ParticipantSnapshot snapshot) {
      std::vector<std::string> seen;
      EXPECT_TRUE(*updater.Update("fleet", "web-1", &snapshot, [&](const ParticipantRecord& record, const TaskRecord&) {
        seen.push_back(record.participant().detail());
        std::optional<ParticipantRecord> next(record);
        next->mutable_participant()->set_detail(name);
        return absl::StatusOr<std::optional<ParticipantRecord>>(std::move(next));
      }));
      EXPECT_EQ(snapshot.participant().detail(), name);
      return seen;
    }

    const TaskStore tasks;
    TimerQueue timers;
    TaskIndex index;
    ParticipantUpdater updater{&tasks, &index, Clock::System()};
  };

  RecentTest() {
    TaskRecord task;
    task.mutable_task()->set_name(TaskName("fleet"));
    ParticipantRecord client;
    client.mutable_participant()->set_name(ParticipantName("fleet", "web-1"));
    EXPECT_TRUE(store_
                    ->Commit(store::Transaction()
                                 .Set(UnsettledKey("fleet"), "")
                                 .Set(TaskKey("fleet"), task.SerializeAsString())
                                 .Set(ParticipantKey("fleet", "web-1"), client.SerializeAsString()))
                    .ok());
    one_.emplace(&*store_, &clock_);
    two_.emplace(&*store_, &clock_);
  }

  FakeClock clock_;
  std::optional<Process> one_, two_;
};

TEST_F(RecentTest, WhatThisProcessHasPutIsNotReadAgain) {
  EXPECT_FALSE(one_->LoadRecent().recent);
  one_->Sign("one", one_->LoadRecent());
  const int before = store_->reads();
  EXPECT_TRUE(one_->LoadRecent().recent);
  EXPECT_THAT(one_->Sign("again", one_->LoadRecent()), testing::ElementsAre("one"));
  EXPECT_EQ(store_->reads(), before);
}

TEST_F(RecentTest, WhatTheWatchHasShownIsRead) {
  one_->Sign("one", one_->LoadRecent());
  two_->Sign("two", two_->LoadRecent());
  one_->index.Committed(*store_->Revision());
  ASSERT_TRUE(one_->index.CatchUp().ok());
  const ParticipantSnapshot snapshot = one_->LoadRecent();
  EXPECT_FALSE(snapshot.recent);
  EXPECT_EQ(snapshot.participant().detail(), "two");
}

TEST_F(RecentTest, WhatIsOfThePastIsNeitherPutBackNorRefusedBy) {
  one_->Sign("one", one_->LoadRecent());
  one_->index.Committed(*store_->Revision());
  ASSERT_TRUE(one_->index.CatchUp().ok());
  // From here on its watch shows nothing.
  one_->index.Stop();
  two_->Sign("two", two_->LoadRecent());
  ASSERT_EQ(one_->LoadRecent().participant().detail(), "one") << "of the past";

  using Decided = absl::StatusOr<std::optional<ParticipantRecord>>;
  const auto refuse_the_past = [](const ParticipantRecord& record, const TaskRecord&) -> Decided {
    if (record.participant().detail() != "two") return absl::PermissionDeniedError("of the past");
    return std::nullopt;
  };
  ParticipantSnapshot snapshot = one_->LoadRecent();
  const auto refused = one_->updater.Update("fleet", "web-1", &snapshot, refuse_the_past);
  EXPECT_EQ(refused.status(), absl::OkStatus());
  EXPECT_EQ(snapshot.participant().detail(), "two");

  snapshot = one_->LoadRecent();
  const auto unchanged = one_->updater.Update(
      "fleet", "web-1", &snapshot, [](const ParticipantRecord&, const TaskRecord&) -> Decided { return std::nullopt; });
  EXPECT_FALSE(*unchanged);
  EXPECT_EQ(snapshot.participant().detail(), "two");

  EXPECT_THAT(one_->Sign("after", one_->LoadRecent()), testing::ElementsAre("one", "two"));
}

}  // namespace
}  // namespace parley::taskd
