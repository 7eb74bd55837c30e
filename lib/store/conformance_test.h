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
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/base/mutex.h"
#include "lib/store/seen_testing.h"
#include "lib/store/store.h"

namespace parley::store {

// An engine with a place of its own for its data.
class Engine {
 public:
  virtual ~Engine() = default;
  // Opens what is there: empty at first, then what earlier stores left. `clock` is for leases.
  virtual absl::StatusOr<std::unique_ptr<Store>> Open(Clock* clock) = 0;
  // The shortest lease that a test takes, and how long to wait for what time does by itself.
  virtual absl::Duration LeaseTime() const { return absl::Seconds(10); }
  virtual absl::Duration Patience() const { return absl::ZeroDuration(); }
};
using MakeEngine = std::unique_ptr<Engine> (*)();

class StoreConformance : public testing::TestWithParam<MakeEngine> {
 protected:
  void SetUp() override {
    Reopen();
    begin_ = *store_->Revision();
  }
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
  // The revision before the test. An engine that others use too may have lost what was earlier.
  int64_t begin_ = 0;
};

TEST_P(StoreConformance, AFreshStoreIsEmpty) {
  EXPECT_GE(*store_->Revision(), 0);
  EXPECT_EQ(ValueOf("a"), "KEY_NOT_FOUND");
  EXPECT_EQ(Keys(KeyRange::Prefix("")), "");
}

TEST_P(StoreConformance, ReadsWhatWasCommitted) {
  const int64_t first = Set("a", "1");
  const int64_t second = Set("a", "2");
  EXPECT_GT(second, first);
  const Entry entry = *store_->Get("a");
  EXPECT_EQ(entry.value, "2");
  EXPECT_EQ(entry.create_revision, first);
  EXPECT_EQ(entry.mod_revision, second);
  EXPECT_GE(*store_->Revision(), second);
}

TEST_P(StoreConformance, KeepsBytesAsTheyAre) {
  const std::string key("a\0\xFF\x01", 4);
  std::string value;
  for (int i = 0; i < 256; ++i) value.push_back(static_cast<char>(i));
  Set(key, value);
  Set("empty", "");
  EXPECT_EQ(ValueOf(key), value);
  EXPECT_EQ(ValueOf("empty"), "");
}

// Has as many conditions and changes as may be, all with keys of full length, and `bytes` in all.
inline Transaction LargestTransaction(size_t bytes) {
  Transaction transaction;
  for (size_t i = 0; i < kMaxOperations; ++i) {
    std::string key = absl::StrCat(i, "/");
    key.resize(kMaxKeyBytes, 'k');
    transaction.IfAbsent(key).Set(key, "");
  }
  std::string& value = transaction.puts[0].value;
  value.resize(bytes - CommitBytes(transaction), 'x');
  return transaction;
}

TEST_P(StoreConformance, TakesTheLargestTransactionAndNothingAbove) {
  const int64_t before = Set("a", "1");
  EXPECT_EQ(Reason(store_->Commit(LargestTransaction(kMaxCommitBytes + 1)).status()), "STORE_TRANSACTION");
  Transaction conditions = LargestTransaction(kMaxCommitBytes / 2);
  EXPECT_EQ(Reason(store_->Commit(conditions.IfAbsent("one more")).status()), "STORE_TRANSACTION");
  Transaction puts = LargestTransaction(kMaxCommitBytes / 2);
  EXPECT_EQ(Reason(store_->Commit(puts.Set("one more", "")).status()), "STORE_TRANSACTION");
  Transaction deletes = LargestTransaction(kMaxCommitBytes / 2);
  EXPECT_EQ(Reason(store_->Commit(deletes.Delete("one more")).status()), "STORE_TRANSACTION");
  EXPECT_EQ(store_->List(KeyRange::Prefix(""))->entries.size(), 1);
  EXPECT_EQ(store_->Get("a")->mod_revision, before);

  ASSERT_TRUE(store_->Commit(LargestTransaction(kMaxCommitBytes)).ok());
  EXPECT_EQ(store_->List(KeyRange::Prefix(""))->entries.size(), kMaxOperations + 1);
  Set("large", std::string(kMaxCommitBytes - 5, 'x'));
  EXPECT_EQ(ValueOf("large").size(), kMaxCommitBytes - 5);
}

TEST_P(StoreConformance, RefusesKeysOfAWrongSizeOrChangedTwice) {
  Set("present", "1");
  for (Transaction transaction :
       {Transaction().Set("", "x"), Transaction().Set(std::string(kMaxKeyBytes + 1, 'k'), "x"),
        Transaction().IfAbsent("").Set("k", "1"), Transaction().Set("k", "1").Set("k", "2"),
        Transaction().Set("k", "1").Delete("k"), Transaction().Delete("k").Delete("k"),
        // In vain, and refused all the same.
        Transaction().IfAbsent("present").Set("k", "1").Set("k", "2")}) {
    EXPECT_EQ(Reason(store_->Commit(std::move(transaction)).status()), "STORE_TRANSACTION");
  }
  EXPECT_EQ(Keys(KeyRange::Prefix("")), "present=1 ");
}

TEST_P(StoreConformance, ATransactionMayOnlyAsk) {
  const int64_t revision = Set("a", "1");
  const Entry a = *store_->Get("a");
  EXPECT_GE(*store_->Commit(Transaction().IfUnchanged(a).IfAbsent("b")), revision);
  EXPECT_EQ(Reason(store_->Commit(Transaction().IfUnchanged(a).IfAbsent("a")).status()), "CONFLICT");
  EXPECT_EQ(store_->Get("a")->mod_revision, revision);
}

TEST_P(StoreConformance, ADeletedKeyIsAbsentAndBeginsAnew) {
  Set("a", "1");
  const int64_t deleted = Delete("a");
  EXPECT_EQ(ValueOf("a"), "KEY_NOT_FOUND");
  EXPECT_GE(Delete("a"), deleted);
  Seen seen;
  const auto watch = *store_->WatchRange(KeyRange::Prefix("a"), begin_, seen.Callback());
  const int64_t again = Set("a", "2");
  EXPECT_EQ(store_->Get("a")->create_revision, again);
  EXPECT_EQ(seen.Wait(3).size(), 3) << "deleting what is absent changes nothing";
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

TEST_P(StoreConformance, ListsWhatFitsIntoNoMessage) {
  for (int i = 0; i < 20; ++i) Set(absl::StrCat("large/", i), std::string(1'400'000, 'x'));
  for (int i = 0; i < 30; ++i) {
    Transaction transaction;
    for (int j = 0; j < 100; ++j) transaction.Set(absl::StrCat("small/", i, "/", j), "x");
    ASSERT_TRUE(store_->Commit(std::move(transaction)).ok());
  }
  const Page all = *store_->List(KeyRange::Prefix(""));
  EXPECT_EQ(all.entries.size(), 3020);
  EXPECT_FALSE(all.more);
  for (size_t i = 1; i < all.entries.size(); ++i) ASSERT_LT(all.entries[i - 1].key, all.entries[i].key);
  const Page some = *store_->List(KeyRange::Prefix(""), 2500);
  EXPECT_EQ(some.entries.size(), 2500);
  EXPECT_TRUE(some.more);
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
  EXPECT_EQ(ValueOf("a", third + 1000), "STORE_FUTURE_REVISION");
  EXPECT_EQ(Keys(KeyRange::Prefix(""), 0, third + 1000), "STORE_FUTURE_REVISION");
  Seen seen;
  EXPECT_EQ(Reason(store_->WatchRange(KeyRange::Prefix(""), third + 1000, seen.Callback()).status()),
            "STORE_FUTURE_REVISION");
  EXPECT_EQ(Reason(store_->Compact(third + 1000)), "STORE_FUTURE_REVISION");
}

TEST_P(StoreConformance, AWatchMayBeginAtWhateverAReadHasShown) {
  constexpr int kCommits = 300;
  std::thread writer([this] {
    for (int i = 0; i < kCommits; ++i) Set("a", absl::StrCat(i));
  });
  for (bool more = true; more;) {
    const auto page = store_->List(KeyRange::Prefix("a"));
    EXPECT_TRUE(page.ok()) << page.status();
    if (!page.ok()) break;
    more = page->entries.empty() || page->entries[0].value != absl::StrCat(kCommits - 1);
    Seen seen;
    const auto watch = store_->WatchRange(KeyRange::Prefix("a"), page->revision, seen.Callback());
    EXPECT_TRUE(watch.ok()) << watch.status();
    EXPECT_GE(store_->Revision().value_or(0), page->revision);
    if (HasFailure()) break;
  }
  writer.join();
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
  ASSERT_TRUE(store_->Compact(at).ok()) << "done already";
  EXPECT_EQ(ValueOf("a", at - 1), "STORE_COMPACTED");
  EXPECT_EQ(Keys(KeyRange::Prefix(""), 0, at), "a=2 kept=1 ");
  EXPECT_EQ(Keys(KeyRange::Prefix("")), "a=3 kept=1 ");
  Seen seen;
  EXPECT_EQ(Reason(store_->WatchRange(KeyRange::Prefix(""), at - 1, seen.Callback()).status()), "STORE_COMPACTED");
  EXPECT_EQ(Reason(store_->WatchRange(KeyRange::Prefix(""), 0, seen.Callback()).status()), "STORE_COMPACTED");
  const auto watch = *store_->WatchRange(KeyRange::Prefix(""), at, seen.Callback());
  EXPECT_EQ(*seen.Wait(1)[0].value, "3");
  Reopen();
  EXPECT_EQ(ValueOf("a", at - 1), "STORE_COMPACTED");
  EXPECT_EQ(ValueOf("a", at), "2");
}

TEST_P(StoreConformance, CompactToTheNewestKeepsTheRevision) {
  Set("a", "1");
  const int64_t deleted = Delete("a");
  ASSERT_TRUE(store_->Compact(deleted).ok());
  Reopen();
  EXPECT_GE(*store_->Revision(), deleted);
  EXPECT_GT(Set("a", "2"), deleted);
}

TEST_P(StoreConformance, ALiveWatchOutlivesACompaction) {
  const int64_t first = Set("w", "1");
  Seen seen;
  const auto watch = *store_->WatchRange(KeyRange::Prefix("w"), first, seen.Callback());
  Set("w", "2");
  seen.Wait(1);
  for (int i = 0; i < 10; ++i) Set("other", absl::StrCat(i));
  ASSERT_TRUE(store_->Compact(*store_->Revision()).ok());
  Set("w", "3");
  const std::vector<Change> changes = seen.Wait(2);
  EXPECT_EQ(*changes[0].value + *changes[1].value, "23");
}

TEST_P(StoreConformance, ASlowWatchThatACompactionOvertakesLeavesNothingOut) {
  const int64_t begin = Set("w", "0");
  Seen seen;
  Mutex mutex;
  CondVar changed;
  bool held = true;
  const auto watch = *store_->WatchRange(KeyRange::Prefix("w"), begin, [&](auto changes, int64_t revision) {
    seen.Callback()(std::move(changes), revision);
    MutexLock lock(&mutex);
    while (held) changed.Wait(&mutex);
  });
  std::vector<int64_t> revisions;
  for (int i = 0; i < 100; ++i) revisions.push_back(Set("w", std::string(100'000, 'x')));
  ASSERT_TRUE(store_->Compact(revisions.back()).ok());
  revisions.push_back(Set("w", "last"));
  {
    MutexLock lock(&mutex);
    held = false;
    changed.NotifyAll();
  }
  // All of them, or an error after the first ones.
  const std::vector<Change> changes = seen.Wait(revisions.size());
  ASSERT_LE(changes.size(), revisions.size());
  for (size_t i = 0; i < changes.size(); ++i) EXPECT_EQ(changes[i].mod_revision, revisions[i]);
  if (changes.size() < revisions.size()) EXPECT_EQ(Reason(seen.WaitForError()), "STORE_COMPACTED");
}

TEST_P(StoreConformance, ACommitsChangesComeTogether) {
  const int64_t cursor = Set("w", "1");
  Seen seen;
  const auto live = *store_->WatchRange(KeyRange::Prefix("w/"), cursor, seen.Callback());
  Transaction transaction;
  for (size_t i = 0; i < kMaxOperations; ++i) transaction.Set(absl::StrCat("w/", i), std::string(11'000, 'x'));
  ASSERT_TRUE(store_->Commit(transaction).ok());
  EXPECT_EQ(seen.Wait(kMaxOperations).size(), kMaxOperations);
  EXPECT_EQ(seen.calls(), 1);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(store_->Commit(transaction).ok());
  Seen past;
  const auto behind = *store_->WatchRange(KeyRange::Prefix("w/"), cursor, [&](auto changes, int64_t revision) {
    EXPECT_EQ(changes->size() % kMaxOperations, 0) << "a commit was divided";
    past.Callback()(std::move(changes), revision);
  });
  EXPECT_EQ(past.Wait(6 * kMaxOperations).size(), 6 * kMaxOperations);
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
  const auto watch = *store_->WatchRange({"b", "d"}, begin_, seen.Callback());
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
    const int64_t revision = i % 2 == 0 ? begin_ : *store_->Revision();
    seen.push_back(std::make_unique<Seen>());
    watches.push_back(*store_->WatchRange(KeyRange::Prefix("w/"), revision, seen.back()->Callback()));
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
    auto watch = *store_->WatchRange(KeyRange::Prefix("w"), begin_, [&](auto changes, int64_t revision) {
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
  auto begun = *store_->WatchRange(KeyRange::Prefix("w"), begin_, [&](auto, int64_t) {
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
  const auto watch = *store_->WatchRange(KeyRange::Prefix(""), begin_, seen.Callback());
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
  EXPECT_GE(*store_->Revision(), 201);
}

TEST_P(StoreConformance, ALeaseEndsItsEntriesByOneCommit) {
  const LeaseId lease = *store_->GrantLease(engine_->LeaseTime());
  const LeaseId other = *store_->GrantLease(engine_->LeaseTime() * 100);
  Set("l/a", "1", lease);
  Set("l/b", "1", lease);
  Set("l/b", "2");  // Out of the lease.
  Set("l/c", "1", lease);
  Set("l/c", "2", other);
  Set("l/d", "1", lease);
  const int64_t before = *store_->Revision();
  Seen seen;
  const auto watch = *store_->WatchRange(KeyRange::Prefix("l/"), before, seen.Callback());
  clock_.Advance(engine_->LeaseTime() * 1.1);
  const std::vector<Change> changes = seen.Wait(2);
  ASSERT_EQ(changes.size(), 2);
  EXPECT_EQ(changes[0].key, "l/a");
  EXPECT_EQ(changes[1].key, "l/d");
  EXPECT_FALSE(changes[0].value.has_value());
  EXPECT_EQ(changes[0].mod_revision, changes[1].mod_revision);
  EXPECT_EQ(Keys(KeyRange::Prefix("l/")), "l/b=2 l/c=2 ");
  EXPECT_EQ(Reason(store_->KeepLeaseAlive(lease)), "LEASE_NOT_FOUND");
  EXPECT_EQ(Reason(store_->Commit(Transaction().Set("l/e", "1").Set("l/f", "1", lease)).status()), "LEASE_NOT_FOUND");
  EXPECT_EQ(Keys(KeyRange::Prefix("l/")), "l/b=2 l/c=2 ");
  ASSERT_TRUE(store_->RevokeLease(other).ok());
}

TEST_P(StoreConformance, ALeaseOfManyEntriesEndsByOneCommit) {
  const LeaseId lease = *store_->GrantLease(engine_->LeaseTime() * 100);
  for (int i = 0; i < 3; ++i) {
    Transaction transaction;
    for (int j = 0; j < 100; ++j) transaction.Set(absl::StrCat("l/", i, "/", j), "x", lease);
    ASSERT_TRUE(store_->Commit(std::move(transaction)).ok());
  }
  Seen seen;
  const auto watch = *store_->WatchRange(KeyRange::Prefix("l/"), *store_->Revision(), seen.Callback());
  ASSERT_TRUE(store_->RevokeLease(lease).ok());
  const std::vector<Change> changes = seen.Wait(300);
  ASSERT_EQ(changes.size(), 300);
  EXPECT_EQ(changes[0].mod_revision, changes[299].mod_revision);
  EXPECT_EQ(seen.calls(), 1);
}

TEST_P(StoreConformance, ALeaseKeptAliveLives) {
  const LeaseId lease = *store_->GrantLease(engine_->LeaseTime());
  const LeaseId other = *store_->GrantLease(engine_->LeaseTime() * 1.5);
  Set("l/a", "1", lease);
  Set("l/b", "1", other);
  Seen seen;
  const auto watch = *store_->WatchRange(KeyRange::Prefix("l/"), *store_->Revision(), seen.Callback());
  while (!seen.WaitFor(1, engine_->Patience())) {
    ASSERT_TRUE(store_->KeepLeaseAlive(lease).ok());
    clock_.Advance(engine_->LeaseTime() / 2);
  }
  EXPECT_EQ(seen.Wait(1)[0].key, "l/b");
  EXPECT_EQ(Keys(KeyRange::Prefix("l/")), "l/a=1 ");
  ASSERT_TRUE(store_->RevokeLease(lease).ok());
  EXPECT_EQ(Keys(KeyRange::Prefix("l/")), "");
  EXPECT_EQ(Reason(store_->RevokeLease(lease)), "LEASE_NOT_FOUND");
}

TEST_P(StoreConformance, ALeaseOutlivesAReopen) {
  const LeaseId lease = *store_->GrantLease(engine_->LeaseTime());
  Set("l/a", "1", lease);
  Reopen();
  ASSERT_TRUE(store_->KeepLeaseAlive(lease).ok());
  Seen seen;
  const auto watch = *store_->WatchRange(KeyRange::Prefix("l/"), *store_->Revision(), seen.Callback());
  clock_.Advance(engine_->LeaseTime() * 1.1);
  EXPECT_EQ(seen.Wait(1)[0].key, "l/a");
}

TEST_P(StoreConformance, RefusesLeasesOfNoTimeOrOfYears) {
  EXPECT_EQ(Reason(store_->GrantLease(absl::ZeroDuration()).status()), "STORE_LEASE");
  EXPECT_EQ(Reason(store_->GrantLease(absl::Hours(24 * 367)).status()), "STORE_LEASE");
  EXPECT_TRUE(store_->GrantLease(absl::Milliseconds(1)).ok());
  EXPECT_TRUE(store_->GrantLease(absl::Hours(24 * 366)).ok());
}

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_CONFORMANCE_TEST_H_
