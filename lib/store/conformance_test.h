// What every engine must do. An engine's own test instantiates the suite:
//
//   INSTANTIATE_TEST_SUITE_P(Sqlite, StoreConformance, testing::Values(&MakeSqliteEngine));
#ifndef PARLEY_LIB_STORE_CONFORMANCE_TEST_H_
#define PARLEY_LIB_STORE_CONFORMANCE_TEST_H_

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/base/mutex.h"
#include "lib/store/store.h"

namespace parley::store {

// An engine with a place of its own for its data.
class Engine {
 public:
  virtual ~Engine() = default;
  // Opens what is there: empty at first, then what earlier stores left. `clock` is for leases.
  virtual absl::StatusOr<std::unique_ptr<Store>> Open(Clock* clock) = 0;
};
using MakeEngine = std::unique_ptr<Engine> (*)();

// Collects what a watch yields.
class Seen {
 public:
  Store::WatchCallback Callback() {
    return [this](absl::StatusOr<std::vector<Change>> changes, int64_t revision) {
      MutexLock lock(&mutex_);
      if (changes.ok()) {
        for (Change& change : *changes) changes_.push_back(std::move(change));
      } else {
        error_ = changes.status();
      }
      revision_ = revision;
      ++calls_;
      arrived_.NotifyAll();
    };
  }
  // Waits for this many changes; all that came.
  std::vector<Change> Wait(size_t count) {
    MutexLock lock(&mutex_);
    while (changes_.size() < count && error_.ok()) arrived_.Wait(&mutex_);
    return changes_;
  }
  absl::Status WaitForError() {
    MutexLock lock(&mutex_);
    while (error_.ok()) arrived_.Wait(&mutex_);
    return error_;
  }
  int64_t revision() {
    MutexLock lock(&mutex_);
    return revision_;
  }

 private:
  Mutex mutex_;
  CondVar arrived_;
  std::vector<Change> changes_ ABSL_GUARDED_BY(mutex_);
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
  int64_t revision_ ABSL_GUARDED_BY(mutex_) = 0;
  int calls_ ABSL_GUARDED_BY(mutex_) = 0;
};

class StoreConformance : public testing::TestWithParam<MakeEngine> {
 protected:
  void SetUp() override { Reopen(); }
  void Reopen() {
    store_ = nullptr;
    absl::StatusOr<std::unique_ptr<Store>> opened = engine_->Open(&clock_);
    ASSERT_TRUE(opened.ok()) << opened.status();
    store_ = *std::move(opened);
  }
  int64_t Set(std::string key, std::string value, LeaseId lease = 0) {
    absl::StatusOr<int64_t> revision = store_->Commit(Transaction().Set(std::move(key), std::move(value), lease));
    EXPECT_TRUE(revision.ok()) << revision.status();
    return revision.value_or(-1);
  }
  int64_t Delete(std::string key) {
    absl::StatusOr<int64_t> revision = store_->Commit(Transaction().Delete(std::move(key)));
    EXPECT_TRUE(revision.ok()) << revision.status();
    return revision.value_or(-1);
  }
  std::string ValueOf(absl::string_view key, int64_t revision = 0) {
    const absl::StatusOr<Entry> entry = store_->Get(key, revision);
    return entry.ok() ? entry->value : Reason(entry.status());
  }
  std::string Keys(const KeyRange& range, size_t limit = 0, int64_t revision = 0) {
    const absl::StatusOr<Page> page = store_->List(range, limit, revision);
    if (!page.ok()) return Reason(page.status());
    std::string keys;
    for (const Entry& entry : page->entries) absl::StrAppend(&keys, entry.key, "=", entry.value, " ");
    if (page->more) absl::StrAppend(&keys, "more");
    return keys;
  }

  FakeClock clock_;
  const std::unique_ptr<Engine> engine_ = GetParam()();
  std::unique_ptr<Store> store_;
};

TEST_P(StoreConformance, AFreshStoreIsEmpty) {
  EXPECT_EQ(*store_->Revision(), 0);
  EXPECT_EQ(ValueOf("a"), "KEY_NOT_FOUND");
  EXPECT_EQ(Keys(KeyRange::Prefix("")), "");
}

TEST_P(StoreConformance, ReadsWhatWasCommitted) {
  const int64_t first = Set("a", "1");
  const int64_t second = Set("a", "2");
  EXPECT_EQ(second, first + 1);
  const Entry entry = *store_->Get("a");
  EXPECT_EQ(entry.value, "2");
  EXPECT_EQ(entry.create_revision, first);
  EXPECT_EQ(entry.mod_revision, second);
  EXPECT_EQ(*store_->Revision(), second);
}

TEST_P(StoreConformance, KeepsBytesAsTheyAre) {
  const std::string key("a\0\xFF\x01", 4);
  std::string value;
  for (int i = 0; i < 256; ++i) value.push_back(static_cast<char>(i));
  Set(key, value);
  Set("empty", "");
  Set("large", std::string(kMaxValueBytes, 'x'));
  EXPECT_EQ(ValueOf(key), value);
  EXPECT_EQ(ValueOf("empty"), "");
  EXPECT_EQ(ValueOf("large").size(), kMaxValueBytes);
}

TEST_P(StoreConformance, RefusesWhatIsTooLargeOrNamedTwice) {
  for (Transaction transaction :
       {Transaction().Set("", "x"), Transaction().Set(std::string(kMaxKeyBytes + 1, 'k'), "x"),
        Transaction().Set("k", std::string(kMaxValueBytes + 1, 'x')), Transaction().Set("k", "1").Set("k", "2"),
        Transaction().Set("k", "1").Delete("k")}) {
    EXPECT_EQ(store_->Commit(std::move(transaction)).status().code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(*store_->Revision(), 0);
}

TEST_P(StoreConformance, ADeletedKeyIsAbsentAndBeginsAnew) {
  Set("a", "1");
  const int64_t deleted = Delete("a");
  EXPECT_EQ(ValueOf("a"), "KEY_NOT_FOUND");
  EXPECT_EQ(Delete("a"), deleted) << "nothing to change, no new revision";
  const int64_t again = Set("a", "2");
  EXPECT_EQ(store_->Get("a")->create_revision, again);
}

TEST_P(StoreConformance, AppliesWholeOrNotAtAll) {
  Set("a", "1");
  const Entry a = *store_->Get("a");
  EXPECT_TRUE(store_->Commit(Transaction().IfUnchanged(a).IfAbsent("b").Set("a", "2").Set("b", "2")).ok());
  const absl::Status stale = store_->Commit(Transaction().IfUnchanged(a).Set("c", "3").Delete("b")).status();
  EXPECT_EQ(stale.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(Reason(stale), "CONFLICT");
  const absl::Status present = store_->Commit(Transaction().IfAbsent("b").Set("c", "3")).status();
  EXPECT_EQ(Reason(present), "CONFLICT");
  EXPECT_EQ(Keys(KeyRange::Prefix("")), "a=2 b=2 ");
}

TEST_P(StoreConformance, AKeyThatCameBackIsNotUnchanged) {
  Set("a", "1");
  const Entry a = *store_->Get("a");
  Delete("a");
  Set("a", "1");
  EXPECT_EQ(Reason(store_->Commit(Transaction().IfUnchanged(a).Set("a", "2")).status()), "CONFLICT");
}

TEST_P(StoreConformance, ListsInOrderWithinTheRangeAndLimit) {
  for (const char* key : {"b/2", "a", "b/1", "c", "b/3", "b0"}) Set(key, "x");
  Delete("b/2");
  EXPECT_EQ(Keys(KeyRange::Prefix("b/")), "b/1=x b/3=x ");
  EXPECT_EQ(Keys(KeyRange::Prefix("b/"), 1), "b/1=x more");
  EXPECT_EQ(Keys(KeyRange::Prefix("b/"), 2), "b/1=x b/3=x ");
  EXPECT_EQ(Keys({"a", "b/3"}), "a=x b/1=x ");
  EXPECT_EQ(Keys({"b0", ""}), "b0=x c=x ");
}

TEST_P(StoreConformance, ListsKeysOfManyVersionsOnce) {
  for (int i = 0; i < 50; ++i) {
    Set("a", absl::StrCat(i));
    if (i % 10 == 0) Set(absl::StrCat("b", i), "x");
    Set("c", absl::StrCat(i));
  }
  Delete("c");
  EXPECT_EQ(Keys(KeyRange::Prefix("")), "a=49 b0=x b10=x b20=x b30=x b40=x ");
  EXPECT_EQ(Keys(KeyRange::Prefix(""), 2), "a=49 b0=x more");
}

TEST_P(StoreConformance, PrefixesOfTheHighestBytesHaveAnEnd) {
  Set("\xFF\xFF", "1");
  Set("\xFE", "2");
  EXPECT_EQ(Keys(KeyRange::Prefix("\xFF")), "\xFF\xFF=1 ");
  EXPECT_EQ(Keys(KeyRange::Prefix("\xFE")), "\xFE=2 ");
}

TEST_P(StoreConformance, ReadsAtARevision) {
  const int64_t first = Set("a", "1");
  const int64_t second = Set("b", "1");
  const int64_t third = Delete("a");
  EXPECT_EQ(Keys(KeyRange::Prefix(""), 0, first), "a=1 ");
  EXPECT_EQ(Keys(KeyRange::Prefix(""), 0, second), "a=1 b=1 ");
  EXPECT_EQ(Keys(KeyRange::Prefix(""), 0, third), "b=1 ");
  EXPECT_EQ(ValueOf("a", second), "1");
  EXPECT_EQ(ValueOf("a", third), "KEY_NOT_FOUND");
  EXPECT_EQ(store_->List(KeyRange::Prefix(""), 0, second)->revision, second);
  EXPECT_EQ(ValueOf("a", third + 1), "STORE_FUTURE_REVISION");
}

TEST_P(StoreConformance, CompactForgetsWhatWasSupersededAndNothingElse) {
  Set("a", "1");
  Set("gone", "1");
  Set("kept", "1");
  Delete("gone");
  const int64_t at = Set("a", "2");
  Set("a", "3");
  ASSERT_TRUE(store_->Compact(at).ok());
  ASSERT_TRUE(store_->Compact(at - 1).ok()) << "done already";
  EXPECT_EQ(ValueOf("a", at - 1), "STORE_COMPACTED");
  EXPECT_EQ(Keys(KeyRange::Prefix(""), 0, at), "a=2 kept=1 ");
  EXPECT_EQ(Keys(KeyRange::Prefix("")), "a=3 kept=1 ");
  Seen seen;
  EXPECT_EQ(Reason(store_->WatchRange(KeyRange::Prefix(""), at - 1, seen.Callback()).status()), "STORE_COMPACTED");
  Reopen();
  EXPECT_EQ(ValueOf("a", at - 1), "STORE_COMPACTED");
  EXPECT_EQ(ValueOf("a", at), "2");
}

TEST_P(StoreConformance, CompactToTheNewestKeepsTheRevision) {
  Set("a", "1");
  const int64_t deleted = Delete("a");
  ASSERT_TRUE(store_->Compact(deleted).ok());
  Reopen();
  EXPECT_EQ(*store_->Revision(), deleted);
  EXPECT_EQ(Set("a", "2"), deleted + 1);
}

TEST_P(StoreConformance, AWatchYieldsThePastThenThePresent) {
  Set("w/a", "1");
  const int64_t cursor = Set("w/a", "2");
  Set("w/b", "3");
  Set("other", "4");
  Delete("w/a");
  Seen seen;
  const auto watch = *store_->WatchRange(KeyRange::Prefix("w/"), cursor, seen.Callback());
  seen.Wait(2);
  Set("w/c", "5");
  Set("other", "6");
  const int64_t last = *store_->Commit(Transaction().Set("w/d", "7").Delete("w/c"));
  const std::vector<Change> changes = seen.Wait(5);
  ASSERT_EQ(changes.size(), 5);
  std::string text;
  for (const Change& change : changes) absl::StrAppend(&text, change.key, "=", change.value.value_or("deleted"), " ");
  EXPECT_EQ(text, "w/b=3 w/a=deleted w/c=5 w/d=7 w/c=deleted ");
  EXPECT_EQ(changes[4].mod_revision, last);
  EXPECT_EQ(seen.revision(), last);
}

TEST_P(StoreConformance, AWatchOfARangeSeesItsEndsRight) {
  Seen seen;
  const auto watch = *store_->WatchRange({"b", "d"}, 0, seen.Callback());
  for (const char* key : {"a", "b", "c", "d", "cc"}) Set(key, "x");
  const std::vector<Change> changes = seen.Wait(3);
  ASSERT_EQ(changes.size(), 3);
  EXPECT_EQ(changes[0].key + changes[1].key + changes[2].key, "bccc");
}

TEST_P(StoreConformance, AWatchThatBeginsDuringCommitsMissesNothingAndRepeatsNothing) {
  constexpr int kCommits = 300;
  std::thread writer([this] {
    for (int i = 0; i < kCommits; ++i) Set(absl::StrCat("w/", i % 7), absl::StrCat(i));
  });
  std::vector<std::unique_ptr<Seen>> seen;
  std::vector<std::unique_ptr<Watch>> watches;
  for (int i = 0; i < 20; ++i) {
    const int64_t revision = i % 2 == 0 ? 0 : *store_->Revision();
    seen.push_back(std::make_unique<Seen>());
    watches.push_back(*store_->WatchRange(KeyRange::Prefix("w/"), revision, seen.back()->Callback()));
    if (i % 2 != 0) seen.back()->Wait(revision == kCommits ? 0 : 1);
  }
  writer.join();
  for (size_t i = 0; i < seen.size(); i += 2) {
    const std::vector<Change> changes = seen[i]->Wait(kCommits);
    ASSERT_EQ(changes.size(), kCommits);
    for (int c = 0; c < kCommits; ++c) EXPECT_EQ(*changes[c].value, absl::StrCat(c));
  }
}

TEST_P(StoreConformance, NoCallbackAfterAWatchHasEnded) {
  std::atomic<bool> ended = false;
  std::atomic<int> late = 0;
  std::thread writer([this] {
    for (int i = 0; i < 200; ++i) Set("w", absl::StrCat(i));
  });
  for (int i = 0; i < 20; ++i) {
    ended = false;
    Seen seen;
    auto watch = *store_->WatchRange(KeyRange::Prefix("w"), 0, [&](auto changes, int64_t revision) {
      if (ended) ++late;
      seen.Callback()(std::move(changes), revision);
    });
    seen.Wait(1);
    watch = nullptr;
    ended = true;
  }
  writer.join();
  EXPECT_EQ(late, 0);
}

TEST_P(StoreConformance, AWatchMayEndItselfFromItsCallback) {
  Mutex mutex;
  CondVar changed;
  std::unique_ptr<Watch> watch;
  int calls = 0;
  bool made = false;
  auto begun = *store_->WatchRange(KeyRange::Prefix("w"), 0, [&](auto, int64_t) {
    MutexLock lock(&mutex);
    while (!made) changed.Wait(&mutex);
    watch = nullptr;
    ++calls;
    changed.NotifyAll();
  });
  Set("w", "1");
  Seen other;
  {
    MutexLock lock(&mutex);
    watch = std::move(begun);
    made = true;
    changed.NotifyAll();
    while (calls == 0) changed.Wait(&mutex);
  }
  const int64_t before = *store_->Revision();
  Set("w", "2");
  const auto second = *store_->WatchRange(KeyRange::Prefix("w"), before, other.Callback());
  other.Wait(1);
  EXPECT_EQ(calls, 1);
}

TEST_P(StoreConformance, SurvivesAReopenWithHistory) {
  const int64_t first = Set("a", "1");
  Set("a", "2");
  Reopen();
  EXPECT_EQ(ValueOf("a"), "2");
  EXPECT_EQ(ValueOf("a", first), "1");
  Seen seen;
  const auto watch = *store_->WatchRange(KeyRange::Prefix(""), 0, seen.Callback());
  EXPECT_EQ(seen.Wait(2).size(), 2);
}

TEST_P(StoreConformance, OneOfManyRivalsWins) {
  Set("counter", "0");
  std::vector<std::thread> rivals;
  std::atomic<int> conflicts = 0;
  for (int t = 0; t < 8; ++t) {
    rivals.emplace_back([this, &conflicts] {
      for (int done = 0; done < 25;) {
        const Entry entry = *store_->Get("counter");
        const std::string next = absl::StrCat(std::stoi(entry.value) + 1);
        const absl::Status status = store_->Commit(Transaction().IfUnchanged(entry).Set("counter", next)).status();
        if (status.ok()) {
          ++done;
        } else {
          EXPECT_EQ(Reason(status), "CONFLICT");
          ++conflicts;
        }
      }
    });
  }
  for (std::thread& rival : rivals) rival.join();
  EXPECT_EQ(ValueOf("counter"), "200");
  EXPECT_EQ(*store_->Revision(), 201);
}

TEST_P(StoreConformance, ALeaseEndsItsEntriesByACommit) {
  const LeaseId lease = *store_->GrantLease(absl::Seconds(10));
  Set("l/a", "1", lease);
  Set("l/b", "1", lease);
  Set("l/b", "2");  // Out of the lease.
  const int64_t before = *store_->Revision();
  Seen seen;
  const auto watch = *store_->WatchRange(KeyRange::Prefix("l/"), before, seen.Callback());
  clock_.Advance(absl::Seconds(11));
  const std::vector<Change> changes = seen.Wait(1);
  ASSERT_EQ(changes.size(), 1);
  EXPECT_EQ(changes[0].key, "l/a");
  EXPECT_FALSE(changes[0].value.has_value());
  EXPECT_EQ(Keys(KeyRange::Prefix("l/")), "l/b=2 ");
  EXPECT_EQ(Reason(store_->KeepLeaseAlive(lease)), "LEASE_NOT_FOUND");
  EXPECT_EQ(Reason(store_->Commit(Transaction().Set("l/c", "1", lease)).status()), "LEASE_NOT_FOUND");
}

TEST_P(StoreConformance, ALeaseKeptAliveLives) {
  const LeaseId lease = *store_->GrantLease(absl::Seconds(10));
  const LeaseId other = *store_->GrantLease(absl::Seconds(20));
  Set("l/a", "1", lease);
  Set("l/b", "1", other);
  clock_.Advance(absl::Seconds(9));
  ASSERT_TRUE(store_->KeepLeaseAlive(lease).ok());
  clock_.Advance(absl::Seconds(9));
  ASSERT_TRUE(store_->KeepLeaseAlive(lease).ok());
  Seen seen;
  const auto watch = *store_->WatchRange(KeyRange::Prefix("l/"), *store_->Revision(), seen.Callback());
  clock_.Advance(absl::Seconds(9));
  EXPECT_EQ(seen.Wait(1)[0].key, "l/b");
  EXPECT_EQ(Keys(KeyRange::Prefix("l/")), "l/a=1 ");
  ASSERT_TRUE(store_->RevokeLease(lease).ok());
  EXPECT_EQ(Keys(KeyRange::Prefix("l/")), "");
  EXPECT_EQ(Reason(store_->RevokeLease(lease)), "LEASE_NOT_FOUND");
}

TEST_P(StoreConformance, ALeaseOutlivesAReopen) {
  const LeaseId lease = *store_->GrantLease(absl::Seconds(10));
  Set("l/a", "1", lease);
  Reopen();
  ASSERT_TRUE(store_->KeepLeaseAlive(lease).ok());
  Seen seen;
  const auto watch = *store_->WatchRange(KeyRange::Prefix("l/"), *store_->Revision(), seen.Callback());
  clock_.Advance(absl::Seconds(11));
  EXPECT_EQ(seen.Wait(1)[0].key, "l/a");
}

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_CONFORMANCE_TEST_H_
